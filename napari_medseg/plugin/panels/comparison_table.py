"""Comparison of old and new version on each hold-out case, worst change first."""

from collections.abc import Sequence, Set

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_medseg.core.quality.promotion_gate import ComparedCase
from napari_medseg.plugin.widgets import theme

HEADERS = ("hold-out case", "old", "new", "change")
ROW_HEIGHT_PX = 20
ROWS_SHOWN = 4
MIN_COLOURED_CHANGE = 0.0005
PARTIAL_REVIEW_MARK = "◩ "
PARTIAL_REVIEW_TOOLTIP = ": only a part was reviewed; both versions are evaluated on that part"


class ComparisonTable(QTableView):
    """Table with one row per hold-out case; a click emits `chosen` with the name of the case."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table_model = _ComparisonTableModel(self)
        self.setModel(self._table_model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT_PX)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.clicked.connect(lambda index: self.chosen.emit(self._table_model.rows[index.row()].case))

    @property
    def rows(self) -> tuple[ComparedCase, ...]:
        """The displayed rows, from top to bottom."""
        return self._table_model.rows

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        self._table_model.colours = theme.get_state_colours(theme_name)
        self.viewport().update()

    def show_rows(self, rows: Sequence[ComparedCase], partly_reviewed: Set[str] = frozenset()) -> None:
        """Show these rows in this order. Partly reviewed cases are marked; they are evaluated on that part only."""
        self._table_model.set_rows(rows, partly_reviewed)
        metric = rows[0].metric if rows else ""
        self.setToolTip(f"{metric} of the live and the new version. Click a case to see both labels on it")
        n_shown = max(1, min(len(rows), ROWS_SHOWN))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + n_shown * ROW_HEIGHT_PX + 4)


class _ComparisonTableModel(QAbstractTableModel):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows: tuple[ComparedCase, ...] = ()
        self.colours = theme.get_state_colours("dark")
        self.partly_reviewed: Set[str] = frozenset()

    def set_rows(self, rows: Sequence[ComparedCase], partly_reviewed: Set[str]) -> None:
        self.beginResetModel()
        self.rows, self.partly_reviewed = tuple(rows), partly_reviewed
        self.endResetModel()

    def rowCount(self, _parent: QModelIndex | None = None) -> int:
        return len(self.rows)

    def columnCount(self, _parent: QModelIndex | None = None) -> int:
        return len(HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> object:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return f"{HEADERS[section]}, {self.rows[0].metric}" if self.rows and section == 0 else HEADERS[section]
        return None

    def data(self, index: QModelIndex, role: int = 0) -> object:
        row = self.rows[index.row()]
        change = row.new - row.old
        if role == Qt.ItemDataRole.DisplayRole:
            return (
                f"{PARTIAL_REVIEW_MARK * (row.case in self.partly_reviewed)}{row.case}",
                f"{row.old:.3f}",
                f"{row.new:.3f}",
                f"{change:+z.3f}",
            )[index.column()]
        if role == Qt.ItemDataRole.ForegroundRole and index.column() == 3 and abs(change) >= MIN_COLOURED_CHANGE:
            return QBrush(QColor(self.colours["good" if change > 0 else "bad"]))
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > 0:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == 0:
            return f"{row.case}{PARTIAL_REVIEW_TOOLTIP * (row.case in self.partly_reviewed)}"
        return None
