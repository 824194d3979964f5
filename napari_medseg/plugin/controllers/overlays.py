"""Overlay layers for the open case: uncertainty map and version comparison. They are removed with the case."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Run
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import run_control
from napari_medseg.workflow.retrain import ComparisonRow
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


OLD_CONTOUR_COLOUR = "#FFFFFF"
NEW_TITLE = "new"


class OverlayLayers(QObject):
    """Run predictions for the open case in a thread and show each result as a layer.

    Notes
    -----
    `changed` is emitted when overlay layers were added or removed.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", case_controller: CaseController) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._layers: list[Layer] = []
        self._worker: Worker | None = None
        case_controller.opened.connect(self.clear)

    @property
    def is_active(self) -> bool:
        """Whether an overlay layer is shown or being computed."""
        return self._worker is not None or any(layer in self._viewer.layers for layer in self._layers)

    def compute_and_show(self, work: Generator[Any], show: Callable[[OpenCase, Any], Layer]) -> None:
        """Run `work` in a thread and show each item over the open case."""
        self._remove_layers()
        if (current := self._case_controller.current) is None:
            return
        worker = self._worker = Worker(work, self)
        worker.yielded.connect(lambda item: self._add(current, item, show))
        worker.failed.connect(show_problem)
        worker.ended.connect(lambda: self._on_ended(worker))
        worker.start()
        self.changed.emit()

    def clear(self) -> None:
        """Remove the overlay layers and stop the computation."""
        self._remove_layers()
        self.changed.emit()

    def _remove_layers(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        layers.remove(self._viewer, *self._layers)
        self._layers = []

    def _add(self, current: OpenCase, item: object, show: Callable[[OpenCase, Any], Layer]) -> None:
        if current is not self._case_controller.current:
            return
        with labels_tools.keep_selected(self._viewer, current.labels_layer):
            self._layers.append(show(current, item))

    def _on_ended(self, worker: Worker) -> None:
        if self._worker is worker:  # otherwise `clear` was called meanwhile, perhaps because the dock was closed
            self._worker = None
            self.changed.emit()


class UncertaintyOverlay:
    """The uncertainty map of a model, shown over the image.

    Parameters
    ----------
    viewer, workspace, case_controller
        The window, the project, and the controller of the open case.
    overlays
        Adds and removes the layer.
    """

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, overlays: OverlayLayers
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._overlays = overlays

    def show(self, model: str, known: NDArray[np.uint8] | None = None) -> None:
        """Show the map of this model version: the `known` one, per cent, kept with its prediction; else compute it."""
        if self._case_controller.current is not None:
            image = self._case_controller.current.image
            work = _predict_uncertainty(self._workspace, image, model) if known is None else _yield_known(known)
            self._overlays.compute_and_show(work, self._add)

    def _add(self, current: OpenCase, uncertainty_map: NDArray[np.uint8]) -> Layer:
        return layers.add_uncertainty_map(self._viewer, uncertainty_map, current.image_layer, current.case)


class ComparisonOverlay:
    """Labels of the old and the new version on one hold-out case, as contours, with the accepted labels.

    Parameters
    ----------
    viewer, workspace, case_controller
        The window, the project, and the controller of the open case.
    overlays
        Adds and removes the layers.
    """

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, overlays: OverlayLayers
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._overlays = overlays
        self._requested: tuple[Run, Case] | None = None
        case_controller.opened.connect(self._on_opened)

    def show_row(self, run: Run, row: ComparisonRow) -> None:
        """Open the case of a row, then predict it with both versions."""
        if row.case is None:
            return
        self._requested = run, row.case
        current = self._case_controller.current
        if current is not None and current.case.id == row.case.id:
            self._on_opened()
        else:
            self._case_controller.open(row.case)

    def _on_opened(self) -> None:
        wanted, current = self._requested, self._case_controller.current
        if wanted is None or current is None or current.case.id != wanted[1].id:
            return
        self._requested = None
        self._overlays.compute_and_show(_predict_old_and_new(self._workspace, wanted[0], current.image), self._add)

    def _add(self, current: OpenCase, answer: tuple[str, PredictionResult]) -> Layer:
        title, result = answer
        colour = None if title == NEW_TITLE else OLD_CONTOUR_COLOUR
        return layers.add_reference_labels(
            self._viewer, result.labels, current.image_layer, current.case, title, colour
        )


def _yield_known(uncertainty_map: NDArray[np.uint8]) -> Generator[NDArray[np.uint8]]:
    """Yield a map that is known already."""
    yield uncertainty_map


def _predict_uncertainty(workspace: Workspace, image: Image, model: str) -> Generator[Any]:
    registry = workspace.registry
    folder, roi_folder = registry.get_folder(model), registry.find_roi_folder(registry.get_card(model))
    for event in workspace.engine.predict(image, folder, with_uncertainty_map=True, roi_folder=roi_folder):
        if isinstance(event, PredictionResult):
            yield event.uncertainty_map


def _predict_old_and_new(workspace: Workspace, run: Run, image: Image) -> Generator[tuple[str, PredictionResult]]:
    candidate = run_control.get_run_folder(workspace, run)
    versions, roi_folder = {NEW_TITLE: candidate}, None
    if run.base_model:  # empty for the first model of a task
        registry = workspace.registry
        versions = {f"old {run.base_model}": registry.get_folder(run.base_model), **versions}
        roi_folder = registry.find_roi_folder(registry.get_card(run.base_model))
    for title, folder in versions.items():
        for event in workspace.engine.predict(image, folder, roi_folder=roi_folder):
            if isinstance(event, PredictionResult):
                yield title, event
