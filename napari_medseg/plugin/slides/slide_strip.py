"""The strip below the canvas: which slide is open, how far it is zoomed in, its fields, and the way back to it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QDockWidget, QHBoxLayout, QLabel, QMainWindow, QSizePolicy, QVBoxLayout, QWidget

from napari_medseg.plugin.slides.field_outlines import STATE_COLOURS
from napari_medseg.plugin.widgets import theme
from napari_medseg.workflow.cases import CaseState
from napari_medseg.workflow.slides.slide_fields import SlideField

NAME_WIDTH_PX = 110
SLIDES_TOOLTIP = "Slides that are open, or of which this project has fields"
MIN_WIDTH_PX = 320
FIELDS_TOOLTIP = "Click the outline of a field on the slide to correct it."
STATES: tuple[CaseState, ...] = ("accepted", "draft", "predicted", "new", "rejected")


class SlideStrip(QWidget):
    """One row of controls.

    Notes
    -----
    `slide_chosen` carries the path of another slide. `level_chosen` carries the level of new fields. `closing` is
    emitted before the strip is deleted.
    """

    slide_chosen = Signal(object)
    draw_toggled = Signal(bool)
    grid_requested = Signal()
    back_requested = Signal()
    close_requested = Signal()
    closing = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slides = QComboBox()
        self.slides.setMaximumWidth(NAME_WIDTH_PX)
        self.slides.setToolTip(SLIDES_TOOLTIP)
        self.slides.activated.connect(lambda number: self.slide_chosen.emit(self.slides.itemData(number)))
        self.zoom = QLabel()
        self.zoom.setToolTip("Size of a pixel of the screen on the slide, and the magnification that this is like")
        self.level = QComboBox()
        self.level.setToolTip("Level of new fields: at which resolution they are corrected")
        self.draw = theme.make_button(
            "Draw a field", "Drag a rectangle over the slide, or click for one of the usual size"
        )
        self.draw.setCheckable(True)
        self.draw.toggled.connect(self.draw_toggled)
        self.grid = theme.make_button("Grid…", "A grid of fields on tissue")
        self.grid.clicked.connect(self.grid_requested)
        self.fields = QLabel()
        self.fields.setTextFormat(Qt.TextFormat.RichText)
        self.fields.setToolTip(FIELDS_TOOLTIP)
        self.back = theme.make_button("Back to the slide", "Show the slide again; the draft is saved")
        self.back.clicked.connect(self.back_requested)
        self.close_button = theme.make_tool_button(
            "✕", "Close the slide; its fields stay in the project", "medseg-plain"
        )
        self.close_button.clicked.connect(self.close_requested)
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(6, 2, 6, 2)
        self._rows.setSpacing(2)
        row = QHBoxLayout()
        self._rows.addLayout(row)
        for combo in (self.slides, self.level):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(6)
        self.setMinimumSize(MIN_WIDTH_PX, 0)  # a narrow window cuts the row off, and is not made wider
        for widget in (self.slides, self.back, self.draw, self.grid, self.level, self.zoom, self.fields):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(self.close_button)

    def add_widget(self, widget: QWidget) -> None:
        """Add a row of controls below the first one."""
        self._rows.addWidget(widget)

    def show_slides(self, slides: Sequence[Path], shown: Path) -> None:
        """List slides, and which one is shown."""
        with QSignalBlocker(self.slides):
            self.slides.clear()
            self.slides.setToolTip(f"{shown}\n{SLIDES_TOOLTIP}")  # a long name is cut
            for path in slides:
                self.slides.addItem(path.name, path)
                self.slides.setItemData(self.slides.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole)
            self.slides.setCurrentIndex(list(slides).index(shown))

    def show_levels(self, titles: Sequence[str]) -> None:
        """List the levels of a slide."""
        self.level.clear()
        self.level.addItems(list(titles))

    def show_zoom(self, text: str) -> None:
        """Show the zoom."""
        self.zoom.setText(text)

    def show_fields(self, fields: Sequence[SlideField]) -> None:
        """Show how many fields there are in each state."""
        counts = Counter(each.row.state for each in fields)
        parts = [
            f'<span style="color:{STATE_COLOURS[state]}">■</span>{counts[state]:,}' for state in STATES if counts[state]
        ]
        noun = "field" if len(fields) == 1 else "fields"
        self.fields.setText(" ".join(parts) or "no fields yet")
        said = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
        self.fields.setToolTip(f"{len(fields):,} {noun}: {said}. {FIELDS_TOOLTIP}" if said else FIELDS_TOOLTIP)

    def show_mode(self, *, on_slide: bool) -> None:
        """Show the controls of the slide, or the way back to it."""
        for widget in (self.zoom, self.draw, self.level, self.grid):
            widget.setVisible(on_slide)
        self.back.setVisible(not on_slide)


class SlideDock(QDockWidget):
    """A dock below the canvas with the strip; it is shown while a slide is open."""

    def __init__(self, strip: SlideStrip) -> None:
        super().__init__("Slide")
        self.setObjectName("MedSeg slide")
        self.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        self.setTitleBarWidget(QWidget())  # one row is enough
        self._strip = strip
        self.setWidget(strip)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._window: QMainWindow | None = None
        self.hide()

    def attach(self, window: QWidget) -> None:
        """Add the dock below the canvas of a window, once."""
        if self._window is None and isinstance(window, QMainWindow):
            self._window = window
            window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self, Qt.Orientation.Vertical)

    def show_strip(self, *, shown: bool) -> None:
        """Show or hide the strip; without a window, it would be one of its own."""
        self.setVisible(shown and self._window is not None)

    def close_down(self) -> None:
        """Remove the dock from its window."""
        self._strip.closing.emit()
        window, self._window = self._window, None
        if isalive(self):
            if window is not None and isalive(window):
                window.removeDockWidget(self)
            self.deleteLater()
