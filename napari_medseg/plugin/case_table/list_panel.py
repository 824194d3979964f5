"""The list of cases: search, filter and order above the table, progress below it."""

from qtpy.QtCore import QPoint, QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.plugin.case_table.image_watch import ImageWatch
from napari_medseg.plugin.case_table.table_model import CaseTableModel
from napari_medseg.plugin.case_table.table_view import CaseTableView
from napari_medseg.plugin.case_table.thumbnails import Thumbnails
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.workflow.case_list.columns import COLUMNS, DOCK_COLUMNS, WINDOW_COLUMNS, select_columns
from napari_medseg.workflow.case_list.filters import KINDS, CaseFilter
from napari_medseg.workflow.case_list.order import ORDER_EXPLANATIONS, ORDER_TITLES, CaseOrder
from napari_medseg.workflow.preferences import change_preferences, read_preferences
from napari_medseg.workflow.workspace import Workspace

LEAST_HEIGHT_IN_DOCK_PX, MOST_HEIGHT_IN_DOCK_PX = 126, 400
REST_OF_DOCK_PX = 594
"""What the window needs beside the table in the dock, down to the button that accepts."""
SEARCH_AFTER_MS = 150
SORTED_BY_COLUMN = "by a column"
ORDER_TOOLTIP = "Order of the list. Accept and next, D and S follow it; the filter counts, too"


class ListPanel(QWidget):
    """The list of cases of the worklist, in the dock or in a window of its own.

    Notes
    -----
    `chosen` carries a case to open, `menu_requested` the selected cases and a position, `remove_requested` the selected
    cases; `move_requested` is emitted by the button that moves the list into a window, or back.
    """

    chosen = Signal(object)
    menu_requested = Signal(list, QPoint)
    remove_requested = Signal(list)
    move_requested = Signal()

    def __init__(
        self, workspace: Workspace, worklist: Worklist, case_controller: CaseController, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worklist = worklist
        self._case_controller = case_controller
        self._shown_list = worklist.case_list
        self._open_id: int | None = None
        self._is_in_window = False
        self.thumbnails = Thumbnails(workspace, self)
        self.images = ImageWatch(workspace, worklist, self)
        self.model = CaseTableModel(worklist.case_list, self.thumbnails)
        self.table = CaseTableView(self.model)
        self._make_widgets()
        self._search_timer = QTimer(self)
        self._search_timer.setSingleShot(True)
        self._search_timer.setInterval(SEARCH_AFTER_MS)
        self._connect()
        self.set_in_window(False)

    def refresh(self) -> None:
        """Show the list and its progress as they are now; nothing is done while the list is hidden."""
        if not self.isVisible():
            return
        case_list, current = self._worklist.case_list, self._case_controller.current
        if case_list is not self._shown_list:
            self._shown_list = case_list
            self._show_filter(CaseFilter())
        open_id = None if current is None else current.case.id
        self.model.follow(case_list, open_id)
        if open_id != self._open_id:
            self._open_id = open_id
            self.table.show_open_case(open_id)
        if not case_list.is_sorted_by_column:
            self._show_order(case_list.order)
        n_shown, n_cases = len(case_list.shown_ids), case_list.n_cases
        counted = f"{n_shown:,} of {n_cases:,} listed; " if n_shown != n_cases else ""
        n_lost = case_list.counts.n_without_image
        lost = f"; {n_lost:,} without image" if n_lost else ""
        self._progress.setText(
            f"{counted}{case_list.counts.progress.text}{lost}" if case_list.is_complete else "reading the list"
        )

    def set_in_window(self, is_in_window: bool) -> None:
        """Use the columns and the height for the dock, or for a window."""
        self._is_in_window = is_in_window
        preferences = read_preferences(self._workspace.registry)
        if is_in_window:
            self.table.show_columns(select_columns(preferences.list_window_columns, WINDOW_COLUMNS))
            self.table.setMinimumHeight(0)
            self.table.setMaximumHeight(2**24 - 1)
        else:
            self.table.show_columns(select_columns(preferences.list_columns, DOCK_COLUMNS), is_narrow=True)
            self._fit_height()
        self._move.setText("into the dock" if is_in_window else "window")
        self._move.setToolTip("Show the list in the dock" if is_in_window else "Show the list in a window of its own")

    def close_down(self) -> None:
        """Read and look for no more images."""
        self.thumbnails.close()
        self.images.close()

    def filter_by_group(self, group: str) -> None:
        """List only the cases of a patient, slide or video; empty for all."""
        self._group.setText(f"{get_group_label(group)}  ×" if group else "")
        self._group.setVisible(bool(group))
        self._filtered_group = group
        self._apply_filter()

    def showEvent(self, event: object) -> None:
        """Show what changed while the list was hidden."""
        super().showEvent(event)
        self._open_id = None
        self._fit_height()
        self.refresh()

    def _fit_height(self) -> None:
        """Use the height of the window in the dock, but leave in view what is below, down to the decision."""
        if not self._is_in_window:
            free = self.window().height() - REST_OF_DOCK_PX
            self.table.setFixedHeight(max(LEAST_HEIGHT_IN_DOCK_PX, min(free, MOST_HEIGHT_IN_DOCK_PX)))

    def _make_widgets(self) -> None:
        self._search = QLineEdit()
        self._search.setPlaceholderText("search")
        self._search.setClearButtonEnabled(True)
        self._search.setToolTip("Part of the name, the file name, the group, the person or the note")
        self._kind = theme.CompactComboBox("Show only these cases")
        self._kind.addItems(list(KINDS))
        self._kind.setMinimumContentsLength(len("second reading"))
        self._order = theme.CompactComboBox(ORDER_TOOLTIP)
        for order, title in ORDER_TITLES.items():
            self._order.addItem(title, order)
            self._order.setItemData(self._order.count() - 1, ORDER_EXPLANATIONS[order], Qt.ItemDataRole.ToolTipRole)
        self._group = theme.make_tool_button("", "Show all cases again")
        self._group.hide()
        self._filtered_group = ""
        self._move = theme.make_tool_button("window", "")
        self._progress = QLabel()
        self._progress.setObjectName("medseg-muted")
        self._progress.setToolTip("The filter 'no image' lists cases whose image is missing or damaged")
        self._progress.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(make_row(self._search, self._kind))
        layout.addWidget(make_row(QLabel("Order"), self._order, self._group, self._move, stretch=1))
        layout.addWidget(self.table, stretch=1)
        layout.addWidget(self._progress)

    def _connect(self) -> None:
        self._search.textChanged.connect(lambda _text: self._search_timer.start())
        self._search_timer.timeout.connect(self._apply_filter)
        self._kind.activated.connect(lambda _index: self._apply_filter())
        self._order.activated.connect(self._on_order)
        self._group.clicked.connect(lambda: self.filter_by_group(""))
        self._move.clicked.connect(self.move_requested)
        self.table.chosen.connect(self.chosen)
        self.table.sort_requested.connect(self._on_sort)
        self.table.columns_chosen.connect(self._on_columns)
        self.table.menu_requested.connect(self._on_menu)
        self.table.remove_requested.connect(lambda: self.remove_requested.emit(self.table.list_selected()))
        self._worklist.changed.connect(self.refresh)
        self.images.changed.connect(self.thumbnails.retry)
        self._worklist.image_loaded.connect(self.thumbnails.add_image)

    def _apply_filter(self) -> None:
        wanted = CaseFilter(self._kind.currentText(), self._filtered_group, self._search.text())
        if wanted != self._worklist.case_list.case_filter:
            self._worklist.case_list.set_filter(wanted)
            self._worklist.refresh()

    def _show_filter(self, case_filter: CaseFilter) -> None:
        """Show no filter: the list of another task has none."""
        with QSignalBlocker(self._search), QSignalBlocker(self._kind):
            self._search.setText(case_filter.text)
            self._kind.setCurrentText(case_filter.kind)
        self._filtered_group = case_filter.group
        self._group.hide()
        self.table.clear_sort()

    def _show_order(self, order: CaseOrder) -> None:
        if (place := self._order.findText(SORTED_BY_COLUMN)) >= 0:
            self._order.removeItem(place)
        self._order.setCurrentIndex(self._order.findData(order))

    def _on_order(self, _index: int) -> None:
        if (order := self._order.currentData()) is None:
            return
        self.table.clear_sort()
        self._worklist.case_list.set_order(order)
        with show_errors():
            change_preferences(self._workspace.registry, {"case_order": order})
        self._worklist.refresh()

    def _on_sort(self, name: str, descending: bool) -> None:
        if self._order.findText(SORTED_BY_COLUMN) < 0:
            self._order.addItem(SORTED_BY_COLUMN, None)
        self._order.setCurrentIndex(self._order.findText(SORTED_BY_COLUMN))
        self._worklist.case_list.sort_by(COLUMNS[name].key, descending=descending)
        self._worklist.refresh()

    def _on_columns(self, names: tuple[str, ...]) -> None:
        with show_errors():
            name = "list_window_columns" if self._is_in_window else "list_columns"
            change_preferences(self._workspace.registry, {name: names})

    def _on_menu(self, place: QPoint) -> None:
        if chosen := self.table.list_selected():
            self.menu_requested.emit(chosen, place)
        else:
            show_notice("Select cases first: a click, and more with Ctrl or Shift.")
