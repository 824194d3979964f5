"""The Qt model of the list: it holds no cells, but asks the list of cases for what is painted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor, QFont

from napari_medseg.core.grouping.keyed_groups import get_group_noun
from napari_medseg.core.records import UNLIKE, Case
from napari_medseg.plugin.case_table.thumbnails import Thumbnails
from napari_medseg.plugin.widgets import theme
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.columns import COLUMNS, SECOND_READING_EXPLANATION, explain_hold_out
from napari_medseg.workflow.case_notes.notes import describe_notes
from napari_medseg.workflow.cases import CaseRow

NO_PARENT = QModelIndex()
MAX_SINGLE_REMOVALS = 50
"""If more rows leave the list, such as by a filter, the view starts anew."""
STATE_COLOURS = {"accepted": "good", "rejected": "bad", "draft": "draft"}
NAMES = tuple(COLUMNS)
SORT_HINT = "Click: sort by this column; the cases open in this order. Right click: choose columns"


class CaseTableModel(QAbstractTableModel):
    """One row per listed case, in the order of a `CaseList`.

    Parameters
    ----------
    case_list
        The list that is shown; `follow` shows it again after a change, or another one.
    thumbnails
        Makes the pictures.
    """

    def __init__(self, case_list: CaseList, thumbnails: Thumbnails) -> None:
        super().__init__()
        self._case_list = case_list
        self._thumbnails = thumbnails
        self._ids: NDArray[np.int64] = case_list.shown_ids
        self._open_id: int | None = None
        self._colours = theme.get_state_colours("dark")
        thumbnails.made.connect(self._repaint)

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        self._colours = theme.get_state_colours(theme_name)
        self._repaint()

    def follow(self, case_list: CaseList, open_id: int | None) -> None:
        """Show a list as it is now. Rows move and change; the selection stays on its cases."""
        is_other = case_list is not self._case_list
        self._case_list, self._open_id = case_list, open_id
        new = case_list.shown_ids
        if np.array_equal(new, self._ids):
            self._repaint()
        elif is_other or np.count_nonzero(~np.isin(self._ids, new)) > MAX_SINGLE_REMOVALS:
            self.beginResetModel()
            self._ids = new
            self.endResetModel()
        else:
            self._remove_rows(new)
            self._append_rows(new)
            self._move_rows(new)
            self._repaint()

    def find_row(self, case_id: int | None) -> int:
        """Return the row of a case; -1 if it is not listed."""
        found = np.flatnonzero(self._ids == (0 if case_id is None else case_id))
        return int(found[0]) if found.size else -1

    def get_case(self, row: int) -> Case | None:
        """Return the case of a row."""
        found = self._case_list.get_row(int(self._ids[row]))
        return None if found is None else found.case

    def rowCount(self, parent: QModelIndex = NO_PARENT) -> int:
        """Return how many cases are listed."""
        return 0 if parent.isValid() else len(self._ids)

    def columnCount(self, parent: QModelIndex = NO_PARENT) -> int:
        """Return how many columns there are, hidden ones included."""
        return 0 if parent.isValid() else len(NAMES)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401 - Qt
        """Return titles and explanations of columns."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[NAMES[section]].title
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return f"{COLUMNS[NAMES[section]].tooltip}\n{SORT_HINT}"
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401 - Qt
        """Return what is painted of a cell."""
        row = self._case_list.get_row(int(self._ids[index.row()]))
        if row is None:
            return None
        name = NAMES[index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return COLUMNS[name].text(row, self._case_list.find_expected_seconds(row.case.id))
            case Qt.ItemDataRole.DecorationRole if name == "case":
                return self._thumbnails.get(row.case)
            case Qt.ItemDataRole.ToolTipRole:
                return _describe(row, name)
            case Qt.ItemDataRole.ForegroundRole:
                colour = _choose_colour(row, name)
                return QColor(self._colours[colour]) if colour else None  # `None`: that of the theme
            case Qt.ItemDataRole.FontRole if name == "case" and row.case.id == self._open_id:
                font = QFont()
                font.setBold(True)
                return font
        return None

    def _remove_rows(self, new: NDArray[np.int64]) -> None:
        for place in np.flatnonzero(~np.isin(self._ids, new))[::-1].tolist():
            self.beginRemoveRows(NO_PARENT, place, place)
            self._ids = np.delete(self._ids, place)
            self.endRemoveRows()

    def _append_rows(self, new: NDArray[np.int64]) -> None:
        if (added := new[~np.isin(new, self._ids)]).size:
            self.beginInsertRows(NO_PARENT, len(self._ids), len(self._ids) + len(added) - 1)
            self._ids = np.concatenate([self._ids, added])
            self.endInsertRows()

    def _move_rows(self, new: NDArray[np.int64]) -> None:
        if np.array_equal(new, self._ids):
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        place_of = dict(zip(new.tolist(), range(len(new)), strict=True)) if before else {}
        after = [self.index(place_of[int(self._ids[index.row()])], index.column()) for index in before]
        self._ids = new
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _repaint(self) -> None:
        """Repaint the visible cells: the view asks for no others."""
        if len(self._ids):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._ids) - 1, len(NAMES) - 1))


def _describe(row: CaseRow, name: str) -> str:
    if name == "held":
        return explain_hold_out(get_group_noun(row.case.group)) if row.case.held_out else ""
    if name in ("unsure", "unlike"):
        return f"! {UNLIKE}.\n{COLUMNS[name].tooltip}" if row.is_unlike else COLUMNS[name].tooltip
    said = describe_notes(row.note, row.other_notes, is_rejected=row.state == "rejected")
    if name in ("flag", "note", "reason"):
        return said
    if name == "image":
        return COLUMNS[name].tooltip if row.image_problem is None else row.image_problem.text
    if name == "second":
        return SECOND_READING_EXPLANATION if row.is_read_twice else ""
    held = explain_hold_out(get_group_noun(row.case.group)) if row.case.held_out else ""
    second = SECOND_READING_EXPLANATION if row.is_read_twice else ""
    problem = "" if row.image_problem is None else row.image_problem.text
    return "\n".join(filter(None, (row.case.name, row.case.file_name, problem, said, held, second)))


def _choose_colour(row: CaseRow, name: str) -> str:
    if name == "flag":
        return "draft"
    if name == "state":
        return STATE_COLOURS.get(row.state, "")
    is_bad = row.is_unlike if name in ("unsure", "unlike") else row.image_problem is not None and name == "image"
    return "bad" if is_bad else ""
