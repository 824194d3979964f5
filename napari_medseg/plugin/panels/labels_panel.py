"""The labels of the task with their colours, keys and sizes; a click paints with one."""

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_medseg.core.quality.measurements import Measurement
from napari_medseg.core.tasks import Label, Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import Desk
from napari_medseg.plugin.keymap import N_LABEL_KEYS
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import Section
from napari_medseg.plugin.widgets.worker import Worker

if TYPE_CHECKING:
    from napari import Viewer

MEASURE_AFTER_MS = 120
SWATCH_PX = 12


class LabelsPanel(Section):
    """One row for each label.

    Notes
    -----
    `doubt_asked` says whether the map of how unsure the model is shall be shown.
    """

    doubt_asked = Signal(bool)

    def __init__(self, viewer: "Viewer", desk: Desk, task: Task, parent: QWidget | None = None) -> None:
        super().__init__("Labels", parent)
        self._viewer = viewer
        self._desk = desk
        self._task = task
        self._worker: Worker | None = None
        self._is_outdated = False
        self._rows = QWidget()
        self._rows_layout = QVBoxLayout(self._rows)
        self._rows_layout.setContentsMargins(0, 0, 0, 0)
        self._rows_layout.setSpacing(2)
        self.add(self._rows)
        self._doubt = QCheckBox("show where the model is unsure")
        self._doubt.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._doubt.toggled.connect(self.doubt_asked)
        self.add(self._doubt)
        self._buttons = QButtonGroup(self)
        self._sizes: dict[int, QLabel] = {}
        self._layer: Labels | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(MEASURE_AFTER_MS)
        self._soon.timeout.connect(self._measure)
        desk.labels_changed.connect(self._on_labels_changed)
        desk.opened.connect(self._on_opened)
        self.set_task(task)

    def set_task(self, task: Task) -> None:
        """List the labels of another task."""
        self._task, self._layer = task, None  # so that the keys of the layer are bound anew
        self._sizes = {}
        for button in self._buttons.buttons():
            self._buttons.removeButton(button)
        while (item := self._rows_layout.takeAt(0)) is not None:
            item.widget().deleteLater()
        for index, label in enumerate(task.labels):
            self._rows_layout.addWidget(self._row(index, label))
        self._on_opened()

    def choose(self, index: int) -> None:
        """Paint with label number `index`, counted from 0; a case without labels gets a blank start."""
        current = self._desk.current
        if current is None or index >= len(self._task.labels):
            return
        if current.work is None:
            self._desk.begin_again()
        if current.work is not None:
            layer = current.work.layer
            value = layers.next_object(layer) if self._task.instances else self._task.labels[index].value
            labels_tools.paint_with(self._viewer, layer, value)

    @property
    def doubt_shown(self) -> bool:
        """Whether the map of doubt is wanted."""
        return self._doubt.isChecked()

    def set_doubt(self, shown: bool, possible: bool) -> None:
        """Tick or untick the map of doubt without asking for it, and say whether it can be asked for."""
        self._doubt.blockSignals(True)
        self._doubt.setChecked(shown)
        self._doubt.blockSignals(False)
        tooltip = "Bright where the model hesitates between two labels (T)"
        theme.enable(self._doubt, possible, tooltip, "Open an image first; the model is asked again for this map")

    def toggle_doubt(self) -> None:
        """Tick or untick the map of doubt, as a click does."""
        if self._doubt.isEnabled():
            self._doubt.click()

    def _row(self, index: int, label: Label) -> QWidget:
        row = QWidget()
        name = QPushButton(f"{index + 1}   {label.name}")
        name.setCheckable(True)
        name.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        what = f"Paint a new {label.name}" if self._task.instances else f"Paint with {label.name}"
        name.setToolTip(f"{what} (key {index + 1})")
        name.setStyleSheet("text-align: left; padding-left: 6px;")
        name.clicked.connect(partial(self.choose, index))
        self._buttons.addButton(name, label.value)
        swatch = QLabel()
        swatch.setFixedSize(SWATCH_PX, SWATCH_PX)
        swatch.setStyleSheet(f"background-color: {label.colour}; border-radius: 2px;")
        size = QLabel("")
        size.setMinimumWidth(84)
        size.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._sizes[label.value] = size
        layout = QHBoxLayout(row)
        layout.setContentsMargins(2, 0, 4, 0)
        layout.addWidget(swatch)
        layout.addWidget(name, stretch=1)
        layout.addWidget(size)
        return row

    def _on_opened(self) -> None:
        current = self._desk.current
        self.set_doubt(shown=False, possible=current is not None)
        for button in self._buttons.buttons():
            button.setEnabled(current is not None)
        for size in self._sizes.values():
            size.setText("")
        self.set_status("" if current is not None else "no case is open")
        if current is not None and not current.borrowed:
            self._bind_keys(current.image_layer)  # so that a digit means the same whichever of our layers is selected
        self._on_labels_changed()

    def _on_labels_changed(self) -> None:
        current = self._desk.current
        layer = None if current is None else current.labels_layer
        if layer is not self._layer:
            if layer is not None:
                layer.events.selected_label.connect(self._on_selected)
                self._bind_keys(layer)
            self._layer = layer
            self._on_selected()
        self._soon.start()

    def _bind_keys(self, layer: Layer) -> None:
        for index in range(min(N_LABEL_KEYS, len(self._task.labels))):
            layer.bind_key(str(index + 1), lambda _, chosen=index: self.choose(chosen), overwrite=True)

    def _measure(self) -> None:
        """Measure in a thread, as a large volume takes longer than a frame of the screen; once more if it changed."""
        current = self._desk.current
        if current is None or current.labels_layer is None:
            return
        if self._worker is not None:
            self._is_outdated = True
            return
        self._is_outdated = False
        self._worker = Worker(labels_tools.measured(current.labels_layer, current, self._task), self)
        self._worker.yielded.connect(self._show_sizes)
        self._worker.ended.connect(self._on_measured)
        self._worker.start()

    def _on_measured(self) -> None:
        self._worker = None
        if self._is_outdated:
            self._measure()

    def _show_sizes(self, measurements: list[Measurement]) -> None:
        if self._desk.current is None:
            return
        for measurement in measurements:
            if (size := self._sizes.get(measurement.label.value)) is not None:
                size.setText(measurement.text)
                size.setToolTip(measurement.details)

    def _on_selected(self, _event: object = None) -> None:
        selected = 0 if self._layer is None else int(self._layer.selected_label)
        if self._task.instances and selected > 0:
            selected = self._task.labels[0].value  # whichever object: all are of the one label
        chosen = None if self._layer is None else self._buttons.button(selected)
        self._buttons.setExclusive(chosen is not None)
        for button in self._buttons.buttons():
            button.setChecked(button is chosen)
