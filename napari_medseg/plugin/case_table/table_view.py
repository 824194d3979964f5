"""The view of the list: rows of one height, painted when they are visible."""

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import QItemSelectionModel, QModelIndex, QPoint, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from napari_medseg.core.records import Case
from napari_medseg.plugin.case_table.table_model import NAMES, CaseTableModel
from napari_medseg.plugin.case_table.thumbnails import SHOWN_PX
from napari_medseg.workflow.case_list.columns import COLUMNS

ROW_PX = SHOWN_PX + 4
WIDTHS_PX = {
    "state": 80,
    "unsure": 48,
    "unlike": 58,
    "minutes": 44,
    "held": 18,
    "flag": 18,
    "second": 44,
    "note": 150,
    "reason": 120,
    "group": 90,
    "size": 110,
}
OTHER_WIDTH_PX = 86
MARK_WIDTH_PX = 42
"""Of the states in the dock: their marks alone, so that names of cases have room."""
CELL_MARGINS_PX = 8
ELIDED = {"case": Qt.TextElideMode.ElideLeft, "file": Qt.TextElideMode.ElideMiddle}
"""Where a text without room is cut: names of cases differ at their end, free texts are read from their start."""
NO_MODIFIER = Qt.KeyboardModifier.NoModifier


class CellDelegate(QStyledItemDelegate):
    """Paints a state as its mark alone where the word has no room, and cuts a name before its number at its start."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Choose what of a text is painted."""
        super().initStyleOption(option, index)
        name = NAMES[index.column()]
        option.textElideMode = ELIDED.get(name, Qt.TextElideMode.ElideRight)
        if (
            name == "state"
            and option.fontMetrics.horizontalAdvance(option.text) > option.rect.width() - CELL_MARGINS_PX
        ):
            option.text = option.text[:1]


class CaseTableView(QTableView):
    """Table of cases. A click opens a case; with Ctrl or Shift it selects.

    Notes
    -----
    `chosen` carries a case to open, `menu_requested` a position on the screen, `sort_requested` the name of a column
    and whether it descends, `columns_chosen` the names of the shown columns. `remove_requested` is the key Delete.
    """

    chosen = Signal(object)
    menu_requested = Signal(QPoint)
    sort_requested = Signal(str, bool)
    columns_chosen = Signal(tuple)
    remove_requested = Signal()

    def __init__(self, model: CaseTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table_model = model
        self.setModel(model)
        self.setIconSize(QSize(SHOWN_PX, SHOWN_PX))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setItemDelegate(CellDelegate(self))
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        self.verticalHeader().hide()
        self._make_header()
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(lambda place: self.menu_requested.emit(self._to_screen(place)))

    def show_columns(self, names: Sequence[str], *, is_narrow: bool = False) -> None:
        """Show these columns, in the order in which `COLUMNS` has them; where it is narrow, states are marks alone."""
        for place, name in enumerate(NAMES):
            self.setColumnHidden(place, name not in names)
        self.setColumnWidth(NAMES.index("state"), MARK_WIDTH_PX if is_narrow else WIDTHS_PX["state"])

    def clear_sort(self) -> None:
        """Show no arrow in the header: the list has an order of its own."""
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)

    def list_selected(self) -> list[Case]:
        """Return the selected cases from top to bottom."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [case for row in rows if (case := self._table_model.get_case(row)) is not None]

    def show_open_case(self, case_id: int | None) -> None:
        """Scroll to the open case; select it unless a person has selected several."""
        if (row := self._table_model.find_row(case_id)) < 0:
            return
        index = self._table_model.index(row, 0)
        if len(self.selectionModel().selectedRows()) <= 1:
            how = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, how)
        self.scrollTo(index)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Open the case that was clicked without Ctrl or Shift."""
        super().mouseReleaseEvent(event)
        index = self.indexAt(event.pos())
        is_plain_click = event.button() == Qt.MouseButton.LeftButton and event.modifiers() == NO_MODIFIER
        if is_plain_click and index.isValid() and len(self.selectionModel().selectedRows()) == 1:
            self._choose(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the current case with Return; remove the selected ones with Delete."""
        if event.key() == Qt.Key.Key_Delete and self.selectionModel().hasSelection():
            self.remove_requested.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._choose(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _choose(self, index: QModelIndex) -> None:
        if (case := self._table_model.get_case(index.row())) is not None:
            self.chosen.emit(case)

    def _make_header(self) -> None:
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setMinimumSectionSize(WIDTHS_PX["held"])
        for place, name in enumerate(NAMES):
            header.setSectionResizeMode(
                place, QHeaderView.ResizeMode.Stretch if name == "case" else QHeaderView.ResizeMode.Interactive
            )
            header.resizeSection(place, WIDTHS_PX.get(name, OTHER_WIDTH_PX))
        header.setSortIndicatorShown(True)
        header.setSectionsClickable(True)
        self.clear_sort()
        header.sortIndicatorChanged.connect(self._on_sort)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._show_column_menu)

    def _on_sort(self, place: int, order: Qt.SortOrder) -> None:
        if place >= 0:
            self.sort_requested.emit(NAMES[place], order == Qt.SortOrder.DescendingOrder)

    def _show_column_menu(self, place: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for number, name in enumerate(NAMES):
            if name == "case":
                continue
            entry = menu.addAction(COLUMNS[name].title or "held out")
            entry.setToolTip(COLUMNS[name].tooltip)
            entry.setCheckable(True)
            entry.setChecked(not self.isColumnHidden(number))
            entry.toggled.connect(partial(self._toggle_column, number))
        menu.setToolTipsVisible(True)
        menu.popup(self.horizontalHeader().mapToGlobal(place))

    def _toggle_column(self, number: int, shown: bool) -> None:
        self.setColumnHidden(number, not shown)
        self.columns_chosen.emit(tuple(name for place, name in enumerate(NAMES) if not self.isColumnHidden(place)))

    def _to_screen(self, place: QPoint) -> QPoint:
        return self.viewport().mapToGlobal(place)
