"""The page of the meter: plots and lines of text, and the cases that two persons read."""

from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QScrollArea,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_medseg.core.readings.records import FIRST, SECOND
from napari_medseg.plugin.meter.plots import ForecastPlot, SavingPlot, TrendPlot
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.workflow.meter import texts
from napari_medseg.workflow.meter.figures import MeterFigures
from napari_medseg.workflow.second_reader.readings import ReadTwice

COMPARE_TOOLTIP = (
    "Predict up to 40 undecided cases with the versions of the last two retrains, in the background: if they agree\n"
    "and the edited share no longer falls, more corrections of this kind no longer help. Drafts are not changed"
)


class MeterPage(QWidget):
    """Shows `MeterFigures`.

    Notes
    -----
    `csv_requested` and `compare_requested` are emitted by the buttons; `differences_requested` carries the `ReadTwice`
    whose differences the user wants to see, and `use_requested` one and the reading that is to count.
    """

    csv_requested = Signal()
    compare_requested = Signal()
    differences_requested = Signal(object)
    use_requested = Signal(object, int)

    def __init__(self, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._figures: MeterFigures | None = None
        self.plots = TrendPlot(theme_name), SavingPlot(theme_name), ForecastPlot(theme_name)
        self._title = QLabel("")
        self._title.setObjectName("medseg-title")
        self._kind = theme.CompactComboBox("Kind of image of the first two plots: only one kind is compared")
        self._kind.currentTextChanged.connect(self._draw_kind)
        self.compare_button = theme.make_button("Compare versions", COMPARE_TOOLTIP)
        self.csv_button = theme.make_button("Export CSV…", "One row for each correction; people are numbers")
        self.compare_button.clicked.connect(self.compare_requested)
        self.csv_button.clicked.connect(self.csv_requested)
        self.text = _make_text_label()
        self.readers = ReadersTable()
        self.reader_text = _make_text_label()
        self.readers.differences_requested.connect(self.differences_requested)
        self.readers.use_requested.connect(self.use_requested)
        self._lay_out()

    def show_figures(self, figures: MeterFigures) -> None:
        """Show all figures of a task."""
        self._figures = figures
        rows = figures.records.rows
        self._title.setText(f"{figures.records.task.title}: {texts.count_rows(rows)}")  # a label has no mnemonics
        self._fill_kinds(figures)
        self._draw_kind()
        self.plots[2].show_forecast(rows, figures.forecast)
        self.text.setText("\n".join([*texts.list_work_lines(figures), "", texts.METHOD]))
        self.reader_text.setText("\n".join(texts.list_reader_lines(figures)))
        self.readers.show_cases(figures)
        two = figures.records.pair is not None
        why_not = "Two retrains of this task are needed"
        theme.set_enabled(self.compare_button, two, COMPARE_TOOLTIP, why_not)
        theme.set_enabled(self.csv_button, bool(rows), "One row for each correction", "Accept a case first")

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme."""
        self.setStyleSheet(theme.make_style_sheet(theme_name))
        for plot in self.plots:
            plot.set_theme(theme_name)

    def _lay_out(self) -> None:
        work = QWidget()
        rows = QVBoxLayout(work)
        plots = QHBoxLayout()
        for plot in self.plots:
            plots.addWidget(plot, stretch=1)
        rows.addLayout(plots, stretch=1)
        rows.addWidget(_make_scrollable(self.text), stretch=1)
        read = QWidget()
        below = QVBoxLayout(read)
        below.addWidget(self.reader_text)
        below.addWidget(self.readers, stretch=1)
        tabs = QTabWidget()
        tabs.addTab(work, "Work")
        tabs.addTab(read, "Second reader")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(make_row(self._title, self._kind, self.compare_button, self.csv_button, stretch=0))
        layout.addWidget(tabs)

    def _fill_kinds(self, figures: MeterFigures) -> None:
        kinds = list(dict.fromkeys(row.kind for row in figures.records.rows if row.counts))
        if kinds != [self._kind.itemText(number) for number in range(self._kind.count())]:
            chosen = self._kind.currentText()
            self._kind.blockSignals(True)
            self._kind.clear()
            self._kind.addItems(kinds)
            self._kind.setCurrentIndex(max(0, self._kind.findText(chosen)))
            self._kind.blockSignals(False)
        self._kind.setVisible(len(kinds) > 1)

    def _draw_kind(self, _text: str = "") -> None:
        if self._figures is not None:
            kind = self._kind.currentText()
            self.plots[0].show_rows([row for row in self._figures.records.rows if row.kind == kind])
            self.plots[1].show_savings([one for one in self._figures.savings if one.kind == kind])


class ReadersTable(QWidget):
    """One row for each case that two persons read, and what can be done with the selected one."""

    differences_requested = Signal(object)
    use_requested = Signal(object, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cases: tuple[ReadTwice, ...] = ()
        self.table = QTableWidget(0, 0)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().hide()
        self.table.itemSelectionChanged.connect(self._on_selected)
        self.show_button = theme.make_button("Show where they differ", "", main=True)
        self.first_button = theme.make_button("Use the first reading", "")
        self.second_button = theme.make_button("Use the second reading", "")
        self.show_button.clicked.connect(self._on_show)
        self.first_button.clicked.connect(partial(self._on_use, FIRST))
        self.second_button.clicked.connect(partial(self._on_use, SECOND))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(make_row(self.show_button, self.first_button, self.second_button, stretch=-1))
        self._on_selected()

    @property
    def chosen(self) -> ReadTwice | None:
        """The selected case; `None` if there is none."""
        row = self.table.currentRow()
        return self._cases[row] if 0 <= row < len(self._cases) and self.table.selectedItems() else None

    def show_cases(self, figures: MeterFigures) -> None:
        """Show the cases; the selected one stays selected."""
        chosen = None if self.chosen is None else self.chosen.case.id
        self._cases = figures.records.read_twice
        labels = figures.records.task.labels[: 1 if figures.records.task.instances else None]
        headers = ["case", "first", "second", *(f"{label.name}: Dice, HD95" for label in labels), "counts"]
        self.table.clear()
        self.table.setColumnCount(len(headers))
        self.table.setHorizontalHeaderLabels(headers)
        self.table.setRowCount(len(self._cases))
        for number, case in enumerate(self._cases):
            for column, text in enumerate(_list_cells(case, [label.value for label in labels])):
                self.table.setItem(number, column, QTableWidgetItem(text))
            if case.case.id == chosen:
                self.table.selectRow(number)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self._on_selected()

    def _on_selected(self) -> None:
        case = self.chosen
        none = "Choose a case first"
        why_not = none if case is None else "" if case.second is not None else "The second reader rejected this case"
        theme.set_enabled(self.show_button, not why_not, "Open the case, with the differences as a layer", why_not)
        uses_second = case is not None and case.uses_second
        is_used = "These labels count already"
        tooltip = "These labels are exported and trained on from now on; the other button takes it back"
        for button, is_taken in ((self.first_button, not uses_second), (self.second_button, uses_second)):
            reason = why_not or (is_used if is_taken else "")
            theme.set_enabled(button, not reason, tooltip, reason)

    def _on_show(self) -> None:
        if self.chosen is not None:
            self.differences_requested.emit(self.chosen)

    def _on_use(self, reading: int) -> None:
        if self.chosen is not None:
            self.use_requested.emit(self.chosen, reading)


def _list_cells(read: ReadTwice, labels: list[int]) -> list[str]:
    scores = {} if read.agreement is None else {value: (dice, hd95) for value, dice, hd95 in read.agreement.scores}
    unit = "" if read.agreement is None else read.agreement.unit
    cells = [read.case.name, read.first.who, read.second_who + " (rejected)" * (read.second is None)]
    for value in labels:
        dice, hd95 = scores.get(value, (None, None))
        distance = "" if hd95 is None else f", {texts.format_distance(hd95, unit)}"
        cells.append(("in neither" if value in scores else "") if dice is None else f"{dice:.3f}{distance}")
    return [*cells, "none: rejected" if read.used is None else "second" if read.uses_second else "first"]


def _make_text_label() -> QLabel:
    label = QLabel("")
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    return label


def _make_scrollable(widget: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setWidget(widget)
    return area
