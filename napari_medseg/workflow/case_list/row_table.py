"""The rows of the list, with what orders, filters and the search need of each: one array, one text, one place."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.workflow.case_list.columns import make_natural_key
from napari_medseg.workflow.case_list.filters import make_search_text
from napari_medseg.workflow.case_list.order import FEATURES, extract_features
from napari_medseg.workflow.cases import CaseRow


class RowTable:
    """Rows of cases in the order in which they were read.

    Notes
    -----
    `rows`, `features` (of `order.FEATURES`) and `texts` have the same order; `place_of` is the place of each case by
    its id.
    """

    def __init__(self) -> None:
        self.rows: list[CaseRow] = []
        self.features = np.zeros(0, FEATURES)
        self.texts: list[str] = []
        self.place_of: dict[int, int] = {}
        self._groups: dict[str, int] = {}

    def get_row(self, case_id: int) -> CaseRow | None:
        """Return the row of a case; `None` if there is none."""
        return None if (place := self.place_of.get(case_id)) is None else self.rows[place]

    def replace(self, rows: Sequence[CaseRow]) -> list[int]:
        """Replace the rows of cases that are in the table, and return their places."""
        known = [row for row in rows if row.case.id in self.place_of]
        places = [self.place_of[row.case.id] for row in known]
        for place, row in zip(places, known, strict=True):
            self.rows[place], self.features[place] = row, self._extract(row)
            self.texts[place] = make_search_text(row)
        return places

    def append(self, rows: Sequence[CaseRow]) -> None:
        """Add rows of cases that are not in the table."""
        added = np.array([self._extract(row) for row in rows], FEATURES)
        self.features = np.concatenate([self.features, added])
        self.place_of |= {row.case.id: len(self.rows) + n for n, row in enumerate(rows)}
        self.rows.extend(rows)
        self.texts.extend(make_search_text(row) for row in rows)
        for group in {row.case.group for row in rows}:
            make_natural_key(group)  # kept: the first sort would make all at once

    def drop(self, case_ids: Collection[int]) -> NDArray[np.intp]:
        """Remove the rows of cases; return the places of those that stay."""
        kept = np.flatnonzero(~np.isin(self.features["id"], list(case_ids)))
        self.features = self.features[kept]
        self.rows = [self.rows[place] for place in kept]
        self.texts = [self.texts[place] for place in kept]
        self.place_of = {row.case.id: place for place, row in enumerate(self.rows)}
        return kept

    def _extract(self, row: CaseRow) -> tuple[Any, ...]:
        return extract_features(row, self._groups.setdefault(row.case.group, len(self._groups)))
