"""The labels section: label names, colours, keys and measurements. A click selects a label for painting."""

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Labels, Layer
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.quality.measurements import Measurement
from napari_medseg.core.tasks.absence import list_labels_never_drawn
from napari_medseg.core.tasks.bundled_tasks import Label, Task
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.keymap import N_LABEL_KEYS
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection
from napari_medseg.plugin.widgets.eliding_button import ElidingButton
from napari_medseg.plugin.widgets.worker import Worker

if TYPE_CHECKING:
    from napari import Viewer

MEASURE_AFTER_MS = 120
NEVER_DRAWN = "never predicted"
SWATCH_PX = 12
PAINTING_MODES = ("paint", "fill", "polygon")
"""Tools of napari that use the chosen label; with others, its button has an outline only."""


class LabelsPanel(CollapsibleSection):
    """One row for each label.

    Notes
    -----
    `uncertainty_toggled` carries whether to show the uncertainty map.
    """

    uncertainty_toggled = Signal(bool)

    def __init__(
        self,
        viewer: "Viewer",
        case_controller: CaseController,
        task: Task,
        registry: ModelRegistry,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Labels", parent)
        self._viewer = viewer
        self._case_controller = case_controller
        self._task = task
        self._registry = registry
        self._worker: Worker | None = None
        self._is_outdated = False
        self._rows = QWidget()
        self._rows_layout = QVBoxLayout(self._rows)
        self._rows_layout.setContentsMargins(0, 0, 0, 0)
        self._rows_layout.setSpacing(2)
        self.add(self._rows)
        self._uncertainty_checkbox = QCheckBox("unsure areas")
        self._uncertainty_checkbox.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._uncertainty_checkbox.toggled.connect(self.uncertainty_toggled)
        self._model_row = QHBoxLayout()
        self._model_row.addWidget(self._uncertainty_checkbox)
        self._content.addLayout(self._model_row)
        self._buttons = QButtonGroup(self)
        self._sizes: dict[int, QLabel] = {}
        self._layer: Labels | None = None
        self._measure_timer = QTimer(self)
        self._measure_timer.setSingleShot(True)
        self._measure_timer.setInterval(MEASURE_AFTER_MS)
        self._measure_timer.timeout.connect(self._measure)
        case_controller.labels_changed.connect(self._on_labels_changed)
        case_controller.opened.connect(self._on_opened)
        self.set_task(task)

    def set_task(self, task: Task) -> None:
        """List the labels of another task."""
        self._task, self._layer = task, None  # so that the keys of the layer are bound again
        self._sizes = {}
        for button in self._buttons.buttons():
            self._buttons.removeButton(button)
        while (item := self._rows_layout.takeAt(0)) is not None:
            item.widget().deleteLater()
        for index, label in enumerate(task.labels):
            self._rows_layout.addWidget(self._make_label_row(index, label))
        self._on_opened()

    def add_tools(self, row: QWidget) -> None:
        """Add a row of tools below the labels, above what shows something."""
        self._content.insertWidget(self._content.indexOf(self._model_row), row)

    def add_to_model_row(self, widget: QWidget) -> None:
        """Add a widget to the row of what the model knows, beside the box for its uncertainty."""
        self._model_row.addWidget(widget, stretch=1)

    def show_task(self, task: Task) -> None:
        """List the labels of a task unless they are listed already."""
        if task != self._task:
            self.set_task(task)

    def choose_label(self, index: int) -> None:
        """Paint with the label at `index` (from 0). A case without labels starts with empty labels."""
        current = self._case_controller.current
        if current is None or index >= len(self._task.labels):
            return
        if current.edit_session is None:
            self._case_controller.restart_review()
        if current.edit_session is not None:
            layer = current.edit_session.layer
            value = (
                labels_tools.find_free_object_value(layer) if self._task.instances else self._task.labels[index].value
            )
            labels_tools.start_painting(self._viewer, layer, value)

    @property
    def is_uncertainty_shown(self) -> bool:
        """Whether the uncertainty map is switched on."""
        return self._uncertainty_checkbox.isChecked()

    def set_uncertainty_checkbox(self, shown: bool, possible: bool) -> None:
        """Set and enable or disable the uncertainty checkbox without emitting `uncertainty_toggled`."""
        self._uncertainty_checkbox.blockSignals(True)
        self._uncertainty_checkbox.setChecked(shown)
        self._uncertainty_checkbox.blockSignals(False)
        tooltip = "Yellow to dark red where the model is uncertain between two labels (T)"
        theme.set_enabled(
            self._uncertainty_checkbox, possible, tooltip, "Open an image first; the model predicts again for this map"
        )

    def toggle_uncertainty(self) -> None:
        """Toggle the uncertainty map, as a click does."""
        if self._uncertainty_checkbox.isEnabled():
            self._uncertainty_checkbox.click()

    def _make_label_row(self, index: int, label: Label) -> QWidget:
        row = QWidget()
        name = ElidingButton(f"{index + 1}   {label.name}")
        name.setObjectName("medseg-label")
        name.setCheckable(True)
        name.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        what = f"Paint a new {label.name}" if self._task.instances else f"Paint with {label.name}"
        name.setToolTip(f"{what} (key {index + 1})")
        name.setStyleSheet("text-align: left; padding-left: 6px;")
        name.clicked.connect(partial(self.choose_label, index))
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
        current = self._case_controller.current
        self.set_uncertainty_checkbox(shown=False, possible=current is not None)
        for button in self._buttons.buttons():
            button.setEnabled(current is not None)
        for size in self._sizes.values():
            size.setText("")
        self.set_status("" if current is not None else "no case is open")
        if current is not None and not current.borrowed:
            self._bind_keys(current.image_layer)  # so that the number keys also work on the image layer
        self._on_labels_changed()

    def _on_labels_changed(self) -> None:
        current = self._case_controller.current
        layer = None if current is None else current.labels_layer
        if layer is not self._layer:
            if layer is not None:
                layer.events.selected_label.connect(self._on_selected)
                layer.events.mode.connect(self._on_selected)
                self._bind_keys(layer)
            self._layer = layer
            self._on_selected()
        self._measure_timer.start()

    def _bind_keys(self, layer: Layer) -> None:
        """Choose labels by digits. A digit without a label does nothing; napari would let the mouse move the layer."""
        for index in range(N_LABEL_KEYS):
            layer.bind_key(str(index + 1), lambda _, chosen=index: self._choose_by_key(chosen), overwrite=True)

    def _choose_by_key(self, index: int) -> None:
        if index < len(self._task.labels):
            self.choose_label(index)

    def _measure(self) -> None:
        """Measure in a thread, because a large volume would block the window. Repeat if labels changed meanwhile."""
        current = self._case_controller.current
        if current is None or current.labels_layer is None:
            return
        if self._worker is not None:
            self._is_outdated = True
            return
        self._is_outdated = False
        self._worker = Worker(labels_tools.measure_layer(current.labels_layer, current, self._task), self)
        self._worker.yielded.connect(self._show_sizes)
        self._worker.ended.connect(self._on_measured)
        self._worker.start()

    def _on_measured(self) -> None:
        self._worker = None
        if self._is_outdated:
            self._measure()

    def _show_sizes(self, measurements: list[Measurement]) -> None:
        if self._case_controller.current is None:
            return
        card = self._registry.find_live_card(self._task.name)
        never = () if card is None else list_labels_never_drawn(self._task, card.architecture.classes)
        for measurement in measurements:
            if (size := self._sizes.get(measurement.label.value)) is not None:
                is_missing = measurement.voxels == 0 and measurement.label.name in never
                size.setText(NEVER_DRAWN if is_missing else measurement.text)
                why = f"No training image of {card.id} had this label: draw it by hand" if card and is_missing else ""
                size.setToolTip(why or measurement.details)
        widest = max((size.sizeHint().width() for size in self._sizes.values()), default=0)
        for size in self._sizes.values():  # one width, which only grows: the buttons beside them stay as they are
            size.setMinimumWidth(max(size.minimumWidth(), widest))

    def _on_selected(self, _event: object = None) -> None:
        selected = 0 if self._layer is None else int(self._layer.selected_label)
        if self._task.instances and selected > 0:
            selected = self._task.labels[0].value  # all objects share the one label of the task
        chosen = None if self._layer is None else self._buttons.button(selected)
        self._buttons.setExclusive(chosen is not None)
        paints = self._layer is not None and self._layer.mode in PAINTING_MODES
        for button in self._buttons.buttons():
            button.setChecked(button is chosen)
            theme.set_style_property(button, "paints", paints)
