"""What people said about cases: why they were rejected, which are flagged, and notes.

Typed texts may name someone: they are on a page with clear names only. Without these, typed reasons are one group.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import NO_NOTE, CaseNote, ReviewState
from napari_medseg.workflow.case_notes.notes import CaseNotes
from napari_medseg.workflow.case_notes.rejection_reasons import PRESETS
from napari_medseg.workflow.report.data_card import is_closed_as
from napari_medseg.workflow.report.people import Names
from training.reports.html import Cell, Table

NO_REASON, TYPED_REASON, TYPED_NOTE = "no reason given", "another reason (typed)", "a note (typed)"

Notes = Mapping[int, CaseNotes]
"""What is said about each case, by the id of the case: the first reading first."""


def build_reason_table(histories: Sequence[CaseHistory], notes: Notes, names: Names) -> Table | None:
    """Return how many cases were rejected for which reason, the most frequent first."""
    reasons = (_describe_reason(_get_first(notes, one), names) for one in _list_rejected(histories))
    rows: list[list[Cell]] = [[reason, n] for reason, n in Counter(reasons).most_common()]
    return Table(["reason", "cases"], rows) if rows else None


def build_rejected_table(histories: Sequence[CaseHistory], notes: Notes, names: Names) -> Table | None:
    """Return the rejected cases with their reasons."""
    rows: list[list[Cell]] = [
        [
            names.name_case(one.case),
            names.name_reader(one.closed_review.who),
            (one.closed_review.closed or "")[:10],
            _describe_reason(_get_first(notes, one), names),
        ]
        for one in _list_rejected(histories)
        if one.closed_review is not None
    ]
    return Table(["case", "rejected by", "on", "reason"], rows) if rows else None


def build_remark_table(histories: Sequence[CaseHistory], notes: Notes, names: Names) -> Table | None:
    """Return the flags and notes of each person who read a case, flagged ones first."""
    said = [(one, note) for one in histories for note in notes.get(one.case.id, ())]
    found = [(one, note) for one, note in said if note.is_flagged or note.note]
    rows: list[list[Cell]] = [
        [
            names.name_case(one.case),
            "flagged" if note.is_flagged else "",
            _describe_state(one),
            names.name_reader(note.who) + ", second reading" * (note.reading == SECOND),
            note.created[:10],
            (note.note if names.are_clear else TYPED_NOTE) if note.note else "",
        ]
        for one, note in sorted(found, key=lambda pair: not pair[1].is_flagged)
    ]
    return Table(["case", "flag", "state", "by", "on", "note"], rows) if rows else None


def count_flags(histories: Sequence[CaseHistory], notes: Notes) -> int:
    """Return how many cases are flagged for a colleague."""
    return sum(any(note.is_flagged for note in notes.get(one.case.id, ())) for one in histories)


def _list_rejected(histories: Sequence[CaseHistory]) -> list[CaseHistory]:
    return [one for one in histories if is_closed_as(one, ReviewState.REJECTED)]


def _get_first(notes: Notes, history: CaseHistory) -> CaseNote:
    return next((note for note in notes.get(history.case.id, ()) if note.reading != SECOND), NO_NOTE)


def _describe_reason(note: CaseNote, names: Names) -> str:
    if note.reason in PRESETS or (note.reason and names.are_clear):
        return note.reason
    return TYPED_REASON if note.reason else NO_REASON


def _describe_state(history: CaseHistory) -> str:
    return "open" if history.closed_review is None else str(history.closed_review.state)
