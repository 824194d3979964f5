"""Layers beside the open case's own: what else the models say about it. They go with the case."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Run
from napari_medseg.inference.engine.client import PredictResult
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import Desk
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.widgets.notifications import tell
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import run_control
from napari_medseg.workflow.retrain import ComparisonRow
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


OLD_COLOUR = "#FFFFFF"
NEW = "new"


class Guests(QObject):
    """Ask the engine about the open case in a thread, and show each answer as a layer.

    Notes
    -----
    `changed` says that the guests came or went.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", desk: Desk) -> None:
        super().__init__()
        self._viewer = viewer
        self._desk = desk
        self._layers: list[Layer] = []
        self._worker: Worker | None = None
        desk.opened.connect(self.leave)

    @property
    def present(self) -> bool:
        """Whether a guest is in the viewer, or asked for."""
        return self._worker is not None or any(layer in self._viewer.layers for layer in self._layers)

    def ask(self, work: Generator[Any], show: Callable[[OpenCase, Any], Layer]) -> None:
        """Do the work in a thread and show each item beside the case that is open now."""
        self._clear()
        if (current := self._desk.current) is None:
            return
        worker = self._worker = Worker(work, self)
        worker.yielded.connect(lambda item: self._add(current, item, show))
        worker.failed.connect(tell)
        worker.ended.connect(lambda: self._on_ended(worker))
        worker.start()
        self.changed.emit()

    def leave(self) -> None:
        """Take the guests away, and ask no further."""
        self._clear()
        self.changed.emit()

    def _clear(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        layers.remove(self._viewer, *self._layers)
        self._layers = []

    def _add(self, current: OpenCase, item: object, show: Callable[[OpenCase, Any], Layer]) -> None:
        if current is not self._desk.current:
            return
        with labels_tools.selected(self._viewer, current.labels_layer):
            self._layers.append(show(current, item))

    def _on_ended(self, worker: Worker) -> None:
        if self._worker is worker:  # else they were asked to leave since, perhaps with the whole dock
            self._worker = None
            self.changed.emit()


class Doubt:
    """Where the model is unsure, as a map that glows over the image.

    Parameters
    ----------
    viewer, workspace, desk
        Where the open case is.
    guests
        That show it.
    """

    def __init__(self, viewer: "Viewer", workspace: Workspace, desk: Desk, guests: Guests) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._desk = desk
        self._guests = guests

    def show(self, model: str) -> None:
        """Ask for the map of this version."""
        if self._desk.current is not None:
            self._guests.ask(_doubt(self._workspace, self._desk.current.image, model), self._add)

    def _add(self, current: OpenCase, doubt: NDArray[np.uint8]) -> Layer:
        return layers.add_doubt(self._viewer, doubt, current.image_layer, current.case)


class Comparing:
    """Old and new on one hold-out case, as contours over the image, beside what the person accepted.

    Parameters
    ----------
    viewer, workspace, desk
        Where the open case is.
    guests
        That show them.
    """

    def __init__(self, viewer: "Viewer", workspace: Workspace, desk: Desk, guests: Guests) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._desk = desk
        self._guests = guests
        self._wanted: tuple[Run, Case] | None = None
        desk.opened.connect(self._on_opened)

    def show_row(self, run: Run, row: ComparisonRow) -> None:
        """Open the case of a row, then ask for the labels of both versions."""
        if row.case is None:
            return
        self._wanted = run, row.case
        current = self._desk.current
        if current is not None and current.case.id == row.case.id:
            self._on_opened()
        else:
            self._desk.open(row.case)

    def _on_opened(self) -> None:
        wanted, current = self._wanted, self._desk.current
        if wanted is None or current is None or current.case.id != wanted[1].id:
            return
        self._wanted = None
        self._guests.ask(_old_and_new(self._workspace, wanted[0], current.image), self._add)

    def _add(self, current: OpenCase, answer: tuple[str, PredictResult]) -> Layer:
        title, result = answer
        colour = None if title == NEW else OLD_COLOUR
        return layers.add_reference_labels(
            self._viewer, result.labels, current.image_layer, current.case, title, colour
        )


def _doubt(workspace: Workspace, image: Image, model: str) -> Generator[Any]:
    folder, field = workspace.registry.folder(model), workspace.field_folder(model)
    for event in workspace.engine.predict(image, folder, with_uncertainty_map=True, field_folder=field):
        if isinstance(event, PredictResult):
            yield event.uncertainty_map


def _old_and_new(workspace: Workspace, run: Run, image: Image) -> Generator[tuple[str, PredictResult]]:
    candidate = run_control.run_folder(workspace, run)
    versions = {NEW: candidate}
    if run.base_model:  # the first model of a task has nothing before it
        versions = {f"old {run.base_model}": workspace.registry.folder(run.base_model), **versions}
    field = workspace.field_folder(run.base_model) if run.base_model else None
    for title, folder in versions.items():
        for event in workspace.engine.predict(image, folder, field_folder=field):
            if isinstance(event, PredictResult):
                yield title, event
