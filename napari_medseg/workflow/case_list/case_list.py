"""The list of cases of a task: read in steps, updated case by case, ordered and filtered."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.records import Case
from napari_medseg.workflow.case_list.column_ranks import ColumnRanks
from napari_medseg.workflow.case_list.filters import CaseFilter
from napari_medseg.workflow.case_list.order import (
    ACCEPTED,
    RANKED_ORDERS,
    CaseOrder,
    Features,
    Places,
    is_decided,
    sort_places,
)
from napari_medseg.workflow.case_list.progress import ListCounts
from napari_medseg.workflow.case_list.row_table import RowTable
from napari_medseg.workflow.cases import CaseRow, get_case_row, read_case_rows
from napari_medseg.workflow.workspace import Workspace

ROWS_PER_STEP = 150  # read at once: about 15 ms on a slow computer

SortKey = Callable[[CaseRow], Any]


class CaseList:
    """All cases of a task with their state. A change of one case reads one row.

    The open case keeps its place and stays listed until it is left (`pin`): a row that a person looks at must not move
    away, and the next case is the one below. Nobody is sent to cases in `being_saved`, which were accepted.

    Parameters
    ----------
    ws, task
        Workspace, and name of the task.
    order
        The order of the list.
    """

    def __init__(self, ws: Workspace, task: str, order: CaseOrder = CaseOrder.USEFUL) -> None:
        self._workspace = ws
        self._task = task
        self._table = RowTable()
        self._pinned: int | None = None
        self._pinned_features: NDArray[np.void] | None = None  # by which it keeps its place
        self._read_up_to: int | None = 0
        self._unseen: set[int] = set()
        self._order = order
        self._filter = CaseFilter()
        self._sort_key: SortKey | None = None
        self._is_descending = False
        self._ranks = ColumnRanks()
        self.being_saved: frozenset[int] = frozenset()
        self._clear()
        self.read_step()

    def _clear(self) -> None:
        """Forget what was computed from the rows."""
        self._ordered: Places | None = None
        self._shown: NDArray[np.int64] | None = None
        self._counts: ListCounts | None = None

    @property
    def rows(self) -> list[CaseRow]:
        """All cases in the order of import; what is not read yet is read now."""
        while not self.is_complete:
            self.read_step()
        return [self._table.rows[place] for place in np.argsort(self._table.features["id"])]

    def list_rows(self) -> list[CaseRow]:
        """Return the rows that are read so far, in no order."""
        return list(self._table.rows)

    @property
    def is_complete(self) -> bool:
        """Whether all cases are read."""
        return self._read_up_to is None

    @property
    def n_cases(self) -> int:
        """Cases that are read so far."""
        return len(self._table.rows)

    def read_step(self) -> None:
        """Read some more cases."""
        if self._read_up_to is None:
            return
        rows, self._read_up_to = read_case_rows(self._workspace, self._task, self._read_up_to or 0, ROWS_PER_STEP)
        self._put(rows)
        self._unseen.difference_update(row.case.id for row in rows)
        if self.is_complete:
            self._drop(self._unseen)
            self._unseen = set()

    def forget(self) -> None:
        """Read all cases again, step by step, because many changed; until then they are listed as they were."""
        self._read_up_to, self._unseen = 0, set(self._table.place_of)
        self.read_step()

    def update(self, case: Case) -> None:
        """Read a case again. A new case is added, and one that was removed from the list leaves it."""
        if case.task != self._task:
            return
        if self._workspace.project.listed.is_removed(case.id):
            self._drop({case.id})
        else:
            self._put([get_case_row(self._workspace, case)])
            self._unseen.discard(case.id)

    def update_images(self, changed: Collection[int]) -> None:
        """Show what is known now of the images of cases; no case is read."""
        known = self._workspace.image_problems
        rows = [row for case_id in changed if (row := self.get_row(case_id)) is not None]
        self._put([replace(row, image_problem=known.get(row.case)) for row in rows])

    def update_group(self, group: str) -> None:
        """Read the cases of a group again."""
        self._put([get_case_row(self._workspace, row.case) for row in self._table.rows if row.case.group == group])

    def pin(self, case_id: int | None) -> None:
        """Keep a case where it is from now on; the one before takes the place that it has by its state."""
        if case_id == self._pinned:
            return
        place = None if case_id is None else self._table.place_of.get(case_id)
        self._pinned = case_id
        self._pinned_features = None if place is None else self._table.features[place : place + 1].copy()
        self._clear()

    @property
    def order(self) -> CaseOrder:
        """The order of the list, unless it is sorted by a column."""
        return self._order

    @property
    def case_filter(self) -> CaseFilter:
        """Which cases are listed."""
        return self._filter

    @property
    def is_sorted_by_column(self) -> bool:
        """Whether the list has the order of a column, not `order`."""
        return self._sort_key is not None

    def set_order(self, order: CaseOrder) -> None:
        """List the cases in this order."""
        self._order, self._sort_key = order, None
        self._clear()

    def sort_by(self, key: SortKey, *, descending: bool) -> None:
        """List the cases by a value of their row; equal ones stay in `order`."""
        self._sort_key, self._is_descending = key, descending
        self._ranks = ColumnRanks(map(key, self._table.rows))
        self._clear()

    def set_filter(self, case_filter: CaseFilter) -> None:
        """List only the cases that pass, and the open one."""
        self._filter = case_filter
        self._shown = None

    @property
    def shown_ids(self) -> NDArray[np.int64]:
        """Ids of the listed cases in their order."""
        if self._shown is None:
            ordered = self._get_ordered()
            mask = self._filter.select(self._get_lasting_features(), self._table.rows, self._table.texts)
            self._shown = self._table.features["id"][ordered[mask[ordered]]]
        return self._shown

    def get_row(self, case_id: int) -> CaseRow | None:
        """Return the row of a case; `None` if it is not in the list."""
        return self._table.get_row(case_id)

    def find_beside(self, case_id: int | None, by: int) -> Case | None:
        """Return the case below (`by` = 1) or above (-1) a case; the list has no end. Without a case, an end."""
        shown = self.shown_ids
        if not len(shown):
            return None
        if case_id is None or case_id not in self._table.place_of:
            return self._get_case(shown[0 if by > 0 else -1])
        place, is_listed = self._find_position(case_id)
        return self._get_case(shown[(place + by + (by > 0 and not is_listed) * -1) % len(shown)])

    def find_next(self, after: int | None = None, skipped: Collection[int] = ()) -> Case | None:
        """Return the undecided case to open after a case; `None` if there is no other.

        In an order by merit it is the best one, but those in `skipped` come last. In all other orders it is the next
        one below, and after the last one the first.
        """
        ids = self._list_undecided(after)
        if not ids.size:
            return None
        candidates = ids
        if after is None or after not in self._table.place_of or (self._order in RANKED_ORDERS and not self._sort_key):
            if skipped:
                candidates = ids[~np.isin(ids, list(skipped))]
        else:
            candidates = ids[self._count_above(after, ids) :]
        return self._get_case((candidates if candidates.size else ids)[0])

    def list_ahead(self, case_id: int | None, n_cases: int, skipped: Collection[int] = ()) -> list[CaseRow]:
        """Return the next undecided cases in the order in which they will be opened, without the open one."""
        if (following := self.find_next(case_id, skipped)) is None:
            return []
        begin = int(np.flatnonzero((ids := self._list_undecided(case_id)) == following.id)[0])
        return [self._table.rows[self._table.place_of[int(n)]] for n in np.roll(ids, -begin)[:n_cases]]

    def find_accepted_before(self, case_id: int | None) -> Case | None:
        """Return the case that was accepted last, or before this one if it is accepted itself; `None` if none was."""
        accepted = self._table.features[self._table.features["state"] == ACCEPTED]
        ids = accepted["id"][np.argsort(accepted["correction"])[::-1]].tolist()
        later = ids.index(case_id) + 1 if case_id in ids else 0
        return self._get_case(ids[later]) if later < len(ids) else None

    def count_hidden(self, case_id: int | None) -> int:
        """Count the undecided cases that are left, but for this one, where a filter hides cases; 0 without a filter."""
        row = None if case_id is None else self.get_row(case_id)
        n_left = self.counts.n_undecided - (row is not None and not row.is_decided)
        return 0 if self.case_filter.is_empty else n_left

    @property
    def counts(self) -> ListCounts:
        """How much of the list is done, whatever the filter shows, and how long the rest will take."""
        if self._counts is None:
            self._counts = ListCounts(self._table.features)
        return self._counts

    def find_expected_seconds(self, case_id: int) -> float | None:
        """Return the seconds of work expected for a case; `None` if nothing can be said."""
        seconds = float(self.counts.expected_seconds[self._table.place_of[case_id]])
        return None if np.isnan(seconds) else seconds

    def _get_case(self, case_id: int) -> Case:
        return self._table.rows[self._table.place_of[int(case_id)]].case

    def _list_undecided(self, without: int | None) -> NDArray[np.int64]:
        """Return the listed cases that are undecided and have an image, in their order, without one."""
        features = self._table.features
        undecided = features["id"][~is_decided(features) & ~features["no_image"]]
        wanted = np.isin(self.shown_ids, undecided) & ~np.isin(self.shown_ids, [without or 0, *self.being_saved])
        return self.shown_ids[wanted]

    def _find_position(self, case_id: int) -> tuple[int, bool]:
        """Return where a case is among the listed ones, or would be, and whether it is listed."""
        found = np.flatnonzero(self.shown_ids == case_id)
        return (int(found[0]), True) if found.size else (self._count_above(case_id, self.shown_ids), False)

    def _count_above(self, case_id: int, ids: NDArray[np.int64]) -> int:
        """Return how many of some cases are above a case, which may be hidden by the filter."""
        ordered = self._table.features["id"][self._get_ordered()]
        return int(np.isin(ids, ordered[: int(np.flatnonzero(ordered == case_id)[0])]).sum())

    def _get_ordered(self) -> Places:
        if self._ordered is None:
            places = sort_places(self._get_lasting_features(), self._order)
            if self._sort_key is not None:
                places = self._ranks.sort(places, descending=self._is_descending)
            self._ordered = places
        return self._ordered

    def _get_lasting_features(self) -> Features:
        """Return the features with those that the pinned case had when it was opened."""
        if self._pinned_features is None or self._pinned not in self._table.place_of:
            return self._table.features
        lasting = self._table.features.copy()
        lasting[self._table.place_of[self._pinned]] = self._pinned_features[0]
        return lasting

    def _put(self, rows: Sequence[CaseRow]) -> None:
        new = [row for row in rows if row.case.id not in self._table.place_of]
        for place in self._table.replace(rows):
            row = self._table.rows[place]
            if self._sort_key is not None:
                self._ranks.put(place, self._sort_key(row))
            if row.case.id == self._pinned and row.state == "predicted":
                self._pinned_features = self._table.features[place : place + 1].copy()  # nobody worked on it yet
        if new:
            self._table.append(new)
            if self._sort_key is not None:
                self._ranks.extend(map(self._sort_key, new))
        self._clear()

    def _drop(self, case_ids: Collection[int]) -> None:
        kept = self._table.drop(case_ids)
        if self._sort_key is not None:
            self._ranks.keep(kept)
        self._clear()
