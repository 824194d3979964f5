"""The columns of the list: what they show, and by what they sort."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import UNLIKE
from napari_medseg.workflow.case_list.filters import get_person
from napari_medseg.workflow.case_list.order import STATES, count_planes
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.meter.statistics import MIN_CASES

STATE_MARKS = {"new": "·", "predicted": "○", "draft": "✎", "accepted": "✓", "rejected": "✗"}
HELD_OUT_BADGE = "H"
FLAG_MARK = "⚑"
SECOND_READING_EXPLANATION = "A second person reads this case, without seeing what the first one did"
HELD_OUT_EXPLANATION = (
    "Held out: this {noun} only evaluates models, so that a new version is compared on images that it never saw."
)
_MINUTE_S = 60
_NOTHING = (1, 0)
"""Sorts after all values."""


@dataclass(frozen=True)
class Column:
    """A column. `text` gets a row and the seconds of work expected for it, or `None`; `key` sorts rows."""

    title: str
    tooltip: str
    text: Callable[[CaseRow, float | None], str]
    key: Callable[[CaseRow], Any]


def _format_uncertainty(row: CaseRow, _seconds: float | None) -> str:
    return "" if row.uncertainty is None else f"{row.uncertainty:.2f}{' !' if row.is_unlike else ''}"


def _get_distance(row: CaseRow) -> float | None:
    return None if row.prediction is None else row.prediction.domain_distance


def _format_distance(row: CaseRow, _seconds: float | None) -> str:
    distance = _get_distance(row)
    return "" if distance is None else f"{distance:.1f}{' !' if row.is_unlike else ''}"


def _format_minutes(row: CaseRow, seconds: float | None) -> str:
    if row.is_decided or seconds is None:
        return ""
    return f"{seconds / _MINUTE_S:.1f}" if seconds < 10 * _MINUTE_S else f"{seconds / _MINUTE_S:.0f}"


@lru_cache(maxsize=100_000)
def make_natural_key(text: str) -> str:
    """Return a key by which ``case 9`` comes before ``case 10``: numbers begin with how many digits they have.

    It is one text, because lists of thousands are sorted by it: parts in tuples take five times as long to compare.
    """
    return re.sub(r"\d+", _write_length_first, text.lower())


def _write_length_first(number: re.Match[str]) -> str:
    digits = number.group().lstrip("0") or "0"
    return f"{len(digits):04}{digits}"


def _put_nothing_last(value: float | None) -> tuple[int, float]:
    return _NOTHING if value is None else (0, value)


def _format_second_reading(row: CaseRow) -> str:
    return "yours" if row.reading == SECOND else "2nd" * row.is_read_twice


def _join_notes(row: CaseRow) -> str:
    return "; ".join(filter(None, (row.note.note, *(one.note for one in row.other_notes))))


def _show_said(get: Callable[[CaseRow], str]) -> dict[str, Callable[..., Any]]:
    """Show free text, by which cases without one come last."""
    return {"text": lambda row, _seconds: get(row), "key": lambda row: (not get(row), make_natural_key(get(row)))}


def _show(get: Callable[[CaseRow], str]) -> dict[str, Callable[..., Any]]:
    return {"text": lambda row, _seconds: get(row), "key": lambda row: make_natural_key(get(row))}


COLUMNS: Mapping[str, Column] = {
    "case": Column(
        "case",
        "Name of the case; the open one is bold",
        lambda row, _seconds: row.case.name,
        lambda row: (make_natural_key(row.case.group), row.case.id),  # names are numbers of a group and of a case
    ),
    "group": Column(
        "group",
        "Patient, slide or video",
        lambda row, _seconds: get_group_label(row.case.group),
        lambda row: make_natural_key(row.case.group),
    ),
    "state": Column(
        "state",
        "New, predicted, draft (edited), accepted or rejected",
        lambda row, _seconds: f"{STATE_MARKS[row.state]} {row.state}",
        lambda row: STATES.index(row.state),
    ),
    "unsure": Column(
        "unsure",
        "Uncertainty of the model on this case; ! marks an image that is unlike those it learnt from",
        _format_uncertainty,
        lambda row: _put_nothing_last(None if row.uncertainty is None else -row.uncertainty),
    ),
    "unlike": Column(
        "unlike",
        f"Distance from the images that the model learnt from; above 1, the image is {UNLIKE}",
        _format_distance,
        lambda row: _put_nothing_last(
            None
            if row.prediction is None or row.prediction.domain_distance is None
            else -row.prediction.domain_distance
        ),
    ),
    "minutes": Column(
        "min",
        f"Minutes of work expected, from the cases of this kind that were accepted; empty before there are {MIN_CASES}",
        _format_minutes,
        count_planes,
    ),
    "held": Column(
        "",
        "H: held out. The case evaluates models and never trains one",
        lambda row, _seconds: HELD_OUT_BADGE * row.case.held_out,
        lambda row: not row.case.held_out,
    ),
    "flag": Column(
        FLAG_MARK,
        f"{FLAG_MARK}: flagged for a colleague",
        lambda row, _seconds: FLAG_MARK * row.is_flagged,
        lambda row: not row.is_flagged,
    ),
    "second": Column(
        "2nd",
        "2nd: a second person reads the case; yours: it waits for you, and you see nothing of the first one",
        lambda row, _seconds: _format_second_reading(row),
        lambda row: (row.reading != SECOND, not row.is_read_twice),
    ),
    "note": Column("note", "What was noted on the case", **_show_said(_join_notes)),
    "reason": Column("reason", "Why the case was rejected", **_show_said(lambda row: row.reason)),
    "image": Column(
        "image",
        "Empty if the image is there; else missing, or unreadable",
        lambda row, _seconds: "" if row.image_problem is None else row.image_problem.fault.value,
        lambda row: (row.image_problem is None, "" if row.image_problem is None else row.image_problem.fault.value),
    ),
    "who": Column("who", "Who accepted the case, or works on it", **_show(get_person)),
    "file": Column("file", "File of the image; its name stays here", **_show(lambda row: row.case.file_name)),
    "model": Column(
        "model",
        "Model of the newest prediction",
        **_show(lambda row: row.prediction.model_title if row.prediction else ""),
    ),
    "size": Column(
        "size",
        "Voxels of the image, in the order of its axes",
        lambda row, _seconds: " x ".join(map(str, row.case.shape)),
        lambda row: row.case.shape,
    ),
    "seconds": Column(
        "worked",
        "Seconds that were spent on the accepted labels",
        lambda row, _seconds: "" if row.correction is None else f"{row.correction.seconds:.0f} s",
        lambda row: _put_nothing_last(None if row.correction is None else -row.correction.seconds),
    ),
    "changed": Column(
        "changed",
        "Voxels of the accepted labels that differ from the draft",
        lambda row, _seconds: "" if row.correction is None else f"{row.correction.changed_voxels:,}",
        lambda row: _put_nothing_last(None if row.correction is None else -row.correction.changed_voxels),
    ),
    "added": Column("added", "When the image was added", **_show(lambda row: row.case.created[:10])),
}
"""All columns by name; a new one is an entry here."""
DOCK_COLUMNS = ("case", "state", "unsure", "held", "flag")
"""What fits into the dock."""
WINDOW_COLUMNS = (
    "case",
    "group",
    "state",
    "unsure",
    "unlike",
    "minutes",
    "held",
    "flag",
    "second",
    "image",
    "note",
    "who",
)


def select_columns(chosen: tuple[str, ...], usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that a person chose, as far as they exist; else the usual ones. The case is always shown."""
    known = tuple(name for name in COLUMNS if name in chosen)
    return tuple(dict.fromkeys(("case", *known))) if known else usual


def explain_hold_out(noun: str) -> str:
    """Return the sentence that explains the badge; `noun` is patient, slide or video."""
    return HELD_OUT_EXPLANATION.format(noun=noun)
