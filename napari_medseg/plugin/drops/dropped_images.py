"""Makes cases of the images that were dropped together, or of a selected layer."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.detection import describe_import, detect_task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

    from napari_medseg.plugin.controllers.worklist import Worklist


class DroppedImages(QObject):
    """Adds imported images to the project and opens the first one of a drop.

    Parameters
    ----------
    viewer, workspace
        Viewer and project.
    case_controller, worklist
        The controller of the open case, and the list that shows the new ones; its importer reads them.
    """

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, worklist: "Worklist"
    ) -> None:
        super().__init__(worklist)
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._worklist = worklist
        self._batch: list[Case] = []
        worklist.importer.began.connect(self._batch.clear)
        worklist.importer.image_imported.connect(self._on_image_imported)
        worklist.importer.failed.connect(show_warning)
        worklist.importer.finished.connect(self._on_batch_ended)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of the images that were dropped or opened last, together."""
        return tuple(self._batch)

    def add_selected_layer(self) -> None:
        """Make and open a case of the selected image layer if it belongs to the user or another plugin."""
        selected = self._viewer.layers.selection.active
        if layers.is_foreign_image(selected) and (image := layers.get_image(selected)) is not None:
            (case,) = cases.add_cases(self._workspace, [image], self._worklist.task.name)
            self._worklist.update_case(case)
            # Without a source file, the case can be opened again only from a copy in the project.
            worker = Worker(_write_copy(self._workspace, image), self)
            worker.failed.connect(show_problem)
            worker.start()
            self._worklist.open(case, image.give_name(case.name, case.group), selected)

    def _on_image_imported(self, image: Image, layer: ImageLayer | None) -> None:
        self._detect_task(image, layers.get_requested_task(layer))
        try:
            with translate_errors():
                (case,) = cases.add_cases(self._workspace, [image], self._worklist.task.name)
        except MedSegError as error:
            layers.remove(self._viewer, layer)
            show_problem(error)
            return
        self._worklist.importer.add_notes(describe_import(image, self._worklist.task))
        self._batch.append(case)
        self._worklist.image_loaded.emit(case, image)
        if len(self._batch) == 1:
            self._worklist.open(case, image.give_name(case.name, case.group), layer)  # no message names the patient
        elif self._case_controller.current is None or layer is not self._case_controller.current.image_layer:
            layers.remove(self._viewer, layer)
        self._worklist.update_case(case)

    def _detect_task(self, image: Image, requested: str) -> None:
        """Select the task requested or detected for the first image of a batch; the other images use the same task."""
        if self._batch:
            return
        book = self._workspace.tasks
        task = book.get_task(requested) if requested else detect_task(image, self._worklist.task, book)
        if task.name != self._worklist.task.name:
            show_info(f"By its look: task set to {task.title}. If this is wrong, press U to choose another one.")
            self._worklist.switch_task(task)

    def _on_batch_ended(self) -> None:
        if len(self._batch) > 1:
            show_info(f"{len(self._batch)} images were added to the list (next case: D)")


def _write_copy(workspace: Workspace, image: Image) -> Generator[str]:
    yield case_files.write_image_copy(workspace.project.folder, image)
