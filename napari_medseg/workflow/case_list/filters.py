"""Filters of the list of cases: by state, by group, and by text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.workflow.case_list.order import STATES, Features, is_decided
from napari_medseg.workflow.cases import CaseRow

Mask = NDArray[np.bool_]


def _has_state(state: str) -> Callable[[Features], Mask]:
    return lambda features: np.asarray(features["state"] == STATES.index(state))


KINDS: dict[str, Callable[[Features], Mask]] = {
    "all": lambda features: np.ones(len(features), np.bool_),
    "to do": lambda features: ~is_decided(features),
    **{state: _has_state(state) for state in STATES},
    "held out": lambda features: np.asarray(features["held_out"]),
    "unlike": lambda features: np.asarray(features["unlike"]),
    "flagged": lambda features: np.asarray(features["flagged"]),
    "no image": lambda features: np.asarray(features["no_image"]),
    "second reading": lambda features: np.asarray(features["read_twice"]),
}
"""What the list can be restricted to, by name."""


@dataclass(frozen=True)
class CaseFilter:
    """Which cases are listed.

    Parameters
    ----------
    kind
        A key of `KINDS`: a state, or such as ``held out``, ``flagged``, ``to do``, ``all``.
    group
        A keyed group; empty for all groups.
    text
        Part of the name, the file name, the group, the person, the note or the reason; capitals do not matter.
    """

    kind: str = "all"
    group: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether all cases pass."""
        return self == CaseFilter() or (self.kind == "all" and not self.group and not self.text.strip())

    def select(self, features: Features, rows: Sequence[CaseRow], texts: Sequence[str]) -> Mask:
        """Return which cases pass; `texts` are those of `make_search_text`. All arguments have the same order."""
        mask = KINDS[self.kind](features)
        if self.group:
            mask &= np.fromiter((row.case.group == self.group for row in rows), np.bool_, len(rows))
        if wanted := self.text.strip().lower():
            mask &= np.fromiter((wanted in text for text in texts), np.bool_, len(texts))
        return mask


def make_search_text(row: CaseRow) -> str:
    """Return the text in which a search looks, in small letters."""
    others = [text for one in row.other_notes for text in (one.note, one.reason)]
    case, said = row.case, (row.note.note, row.reason, *others)
    return "\n".join((case.name, case.file_name, get_group_label(case.group), get_person(row), *said)).lower()


def get_person(row: CaseRow) -> str:
    """Return who accepted or began a case; empty if nobody did."""
    if row.review is not None and row.state == "draft":
        return row.review.who
    return row.correction.who if row.correction is not None else ""
