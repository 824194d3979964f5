"""The combo box of the window in the header of the labels section."""

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_medseg.core.tasks.display_windows import PRESETS, format_window
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.widgets.theme import CompactComboBox

COMBO_WIDTH_PX = 120
FIRST_KEY = 2
"""F2 is the key of the first preset."""
TOOLTIP = (
    "Which grey values are black and white (F2 to F6). Drag with the middle button on the image: to the right\n"
    "for a wider window, upwards for a brighter image. It is kept for the images of this task."
)


class WindowSelector(QWidget):
    """Shows the window of the open image, and the presets to choose from; those that make no sense are grey."""

    def __init__(self, display_window: DisplayWindow, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._display_window = display_window
        self._combo = CompactComboBox(TOOLTIP)
        self._combo.setFixedWidth(COMBO_WIDTH_PX)
        self._items = QStandardItemModel(self._combo)
        for number, preset in enumerate(PRESETS, start=FIRST_KEY):
            item = QStandardItem(preset)
            item.setData(f"{preset} (F{number})", Qt.ItemDataRole.ToolTipRole)
            self._items.appendRow(item)
        self._own = QStandardItem("")
        self._items.appendRow(self._own)
        self._combo.setModel(self._items)
        self._combo.activated.connect(self._on_chosen)
        label = QLabel("window")
        label.setObjectName("medseg-muted")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(label)
        layout.addWidget(self._combo)
        display_window.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the present window, and which presets make sense."""
        window, limits = self._display_window, self._display_window.limits
        reasons = [window.explain_missing(preset) for preset in PRESETS]
        for row, (number, reason) in enumerate(zip(range(FIRST_KEY, FIRST_KEY + len(PRESETS)), reasons, strict=True)):
            item = self._items.item(row)
            if item is not None:
                item.setEnabled(not reason)
                item.setToolTip(reason or f"{PRESETS[row]} (F{number})")
        self._own.setText("" if limits is None else format_window(limits))
        self.setVisible(limits is not None)  # a colour image has no window
        self._combo.setToolTip(TOOLTIP if limits is not None else next(filter(None, reasons), ""))
        preset = window.preset
        self._own.setEnabled(limits is not None)
        with QSignalBlocker(self._combo):
            self._combo.setCurrentIndex(PRESETS.index(preset) if preset in PRESETS else len(PRESETS))

    def _on_chosen(self, row: int) -> None:
        if row < len(PRESETS):
            self._display_window.show_preset(PRESETS[row])
        self.refresh()
