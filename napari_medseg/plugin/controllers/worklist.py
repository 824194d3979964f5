"""The worklist: imported cases, the order of review, and background predictions of the next cases."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_error, show_info, show_warning
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.definitions import TASKS, Task
from napari_medseg.core.tasks.detection import describe_import, detect_task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.image_importer import ImageImporter
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import case_ranking, cases
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.hold_out import sides
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class Worklist(QObject):
    """All cases of the selected task, and navigation between them.

    Notes
    -----
    `changed` is emitted when the list or the state of a case changed, `task_changed` when another task was selected.
    `image_loaded` carries a case and its image when the image was read.
    """

    changed = Signal()
    task_changed = Signal()
    image_loaded = Signal(object, object)

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, prediction_queue: PredictionQueue
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._workspace = workspace
        self._case_controller = case_controller
        self._prediction_queue = prediction_queue
        self.importer = ImageImporter(viewer)
        self.task: Task = cases.find_last_task(workspace)
        self.model_override: str | None = None
        self.predicts_automatically = True
        self._preloaded: tuple[int, Image] | None = None
        self._batch: list[Case] = []
        self._failed_case_ids: set[int] = set()
        self._cases = cases.TaskCases(workspace, self.task.name)
        self._closed = False
        self._refresh_timer = QTimer(self)
        self._refresh_timer.setSingleShot(True)
        self._refresh_timer.setInterval(0)
        self._refresh_timer.timeout.connect(self.refresh)
        self._connect()
        self.refresh()

    @property
    def chosen_model(self) -> str:
        """Model version for predictions: the one selected in this window, else the live one; empty if none."""
        return self.model_override or self._workspace.registry.get_live_id(self.task.name)

    def refresh(self) -> None:
        """Emit `changed` and predict the next case. The timer merges several changes into one refresh."""
        if not self._closed:
            self.changed.emit()
            self._predict_next()

    @property
    def rows(self) -> list[CaseRow]:
        """All cases of the task with their state, in the order of import."""
        return self._cases.rows

    def close(self) -> None:
        """Stop importing. A second call has no effect."""
        if not self._closed:
            self._closed = True
            self.importer.close()

    def choose_task(self, name: str) -> None:
        """Select another task and list its cases. The open image becomes a case of it if the task accepts the image."""
        if name == self.task.name:
            return
        current = self._case_controller.current
        self._switch_task(self._workspace.tasks.get_task(name))
        if current is not None and current.image.axes in self.task.axes:
            with show_errors():
                (case,) = cases.add_cases(self._workspace, [current.image], name)
                self._cases.update(case)
                self._case_controller.open(case, current.image)
        else:
            self._case_controller.close_case()
        self.refresh()

    def reload_task(self) -> None:
        """Reload the labels of the task, also in the open case. If the task was removed, select the first task."""
        book, current = self._workspace.tasks, self._case_controller.current
        self.task = book.get_task(self.task.name) if self.task.name in book else next(iter(TASKS.values()))
        self._cases = cases.TaskCases(self._workspace, self.task.name)
        if current is not None and current.case.task == self.task.name:
            layers.update_task_labels(current.image_layer, current.labels_layer, self.task)
        self.task_changed.emit()
        self._refresh_timer.start()

    @property
    def can_predict(self) -> bool:
        """Whether a model exists, and a case is open or a selected image layer can become one."""
        open_or_selected = self._case_controller.current is not None
        open_or_selected |= layers.is_foreign_image(self._viewer.layers.selection.active)
        return open_or_selected and bool(self.chosen_model)

    def set_predicts_automatically(self, predicts: bool) -> None:
        """Choose whether cases are predicted automatically."""
        self.predicts_automatically = predicts
        self._refresh_timer.start()

    def use_live_model(self) -> None:
        """Use the live version from now on. Predict the open case again unless the user has edited it."""
        self.model_override = None
        self._failed_case_ids.clear()
        current = self._case_controller.current
        if current is not None and current.state == "predicted" and self.predicts_automatically:
            self.predict()
        self._refresh_timer.start()

    def set_held_out(self, group: str, held_out: bool) -> None:
        """Add a group to the hold-out or remove it."""
        with show_errors():
            sides.set_held_out(self._workspace, group, held_out)
        self._cases.forget()
        self._refresh_timer.start()

    def open(self, case: Case, image: Image | None = None, layer: ImageLayer | None = None) -> None:
        """Open a case and select its task."""
        self._switch_task(self._workspace.tasks.get_task(case.task))
        if self._preloaded is not None and self._preloaded[0] == case.id:
            image, self._preloaded = self._preloaded[1], None
        self._case_controller.open(case, image, layer)

    def step(self, by: int) -> None:
        """Go to the next (`by` = 1) or previous (-1) case in the list; the list wraps around."""
        all_cases = [row.case for row in self.rows]
        if all_cases:
            ids = [case.id for case in all_cases]
            current = self._case_controller.current
            here = ids.index(current.case.id) if current is not None and current.case.id in ids else -max(0, by)
            self.open(all_cases[(here + by) % len(ids)])

    def open_next(self, after: Case | None = None) -> None:
        """Open the case with the highest expected benefit per minute of review, or report that all are done."""
        rows = cases.list_cases(self._workspace) if after is None else self.rows
        following = case_ranking.find_next_case(rows, after)
        if following is None:
            show_info("All cases are done. Drop more images, export accepted labels, or retrain on the corrections.")
        else:
            self.open(following)

    def predict(self) -> None:
        """Predict the open case, or the selected image layer of any origin."""
        with show_errors():
            self._make_case_from_selected()
            if (current := self._case_controller.current) is not None and self.chosen_model:
                self._prediction_queue.predict(PredictionRequest(current.case, self.chosen_model, current.image))

    def _connect(self) -> None:
        self.importer.began.connect(self._batch.clear)
        self.importer.image_imported.connect(self._on_image_imported)
        self.importer.failed.connect(show_warning)
        self.importer.finished.connect(self._on_batch_ended)
        self._prediction_queue.predicted.connect(self._on_predicted)
        self._prediction_queue.image_loaded.connect(self._on_read)
        self._prediction_queue.failed.connect(self._on_prediction_failed)
        self._prediction_queue.changed.connect(self._refresh_timer.start)
        self._case_controller.opened.connect(self._on_opened)
        self._case_controller.decided.connect(self._on_decided)
        self._case_controller.state_changed.connect(self._on_state_changed)

    def _on_image_imported(self, image: Image, layer: ImageLayer | None) -> None:
        self._detect_task(image, layers.get_requested_task(layer))
        try:
            (case,) = cases.add_cases(self._workspace, [image], self.task.name)
        except MedSegError as error:
            layers.remove(self._viewer, layer)
            show_problem(error)
            return
        self.importer.add_notes(describe_import(image, self.task))
        self._batch.append(case)
        self.image_loaded.emit(case, image)
        if len(self._batch) == 1:
            self.open(case, image, layer)
        elif self._case_controller.current is None or layer is not self._case_controller.current.image_layer:
            layers.remove(self._viewer, layer)
        self._update_case(case)

    def _detect_task(self, image: Image, requested: str) -> None:
        """Select the task requested or detected for the first image of a batch; the other images use the same task."""
        if self._batch:
            return
        book = self._workspace.tasks
        task = book.get_task(requested) if requested else detect_task(image, self.task, book)
        if task.name != self.task.name:
            show_info(f"{image.name}: task set to {task.title}. If this is wrong, choose another task above.")
            self._switch_task(task)

    def _switch_task(self, task: Task) -> None:
        if task.name != self.task.name:
            self.task, self.model_override = task, None
            self._cases = cases.TaskCases(self._workspace, task.name)
            self.task_changed.emit()
            self._refresh_timer.start()

    def _on_batch_ended(self) -> None:
        if len(self._batch) > 1:
            show_info(f"{len(self._batch)} images were added to the list (next case: D)")

    def _on_opened(self) -> None:
        current = self._case_controller.current
        if current is not None and current.edit_session is None and current.saved_state == "new":
            if not self.chosen_model:
                self._case_controller.show_prediction(None)  # without a model, labels are painted manually
            elif self.predicts_automatically:
                self.predict()
        self._refresh_timer.start()

    def _on_predicted(self, case: Case, prediction: Prediction, labels: NDArray[Any]) -> None:
        if self._case_controller.current is not None and self._case_controller.current.case.id == case.id:
            with show_errors():
                self._case_controller.show_prediction(prediction, labels)
        self._update_case(case)

    def _on_prediction_failed(self, case: Case, text: str) -> None:
        self._failed_case_ids.add(case.id)
        if self._case_controller.current is not None and self._case_controller.current.case.id == case.id:
            show_error(text)

    def _on_read(self, case: Case, image: Image) -> None:
        self.image_loaded.emit(case, image)
        current = self._case_controller.current
        if current is not None and current.case.id == case.id:
            return  # the open case is never the next one
        following = case_ranking.find_next_case(self.rows, None if current is None else current.case)
        if following is not None and following.id == case.id:
            self._preloaded = (case.id, image)

    def _on_state_changed(self) -> None:
        current = self._case_controller.current
        self._update_case(None if current is None else current.case)

    def _update_case(self, case: Case | None) -> None:
        """Read the state of a case again and schedule a refresh of the list."""
        if case is not None:
            self._cases.update(case)
        self._refresh_timer.start()

    def _on_decided(self, case: Case) -> None:
        with show_errors():
            self._update_case(case)
            self.open_next(case)

    def _predict_next(self) -> None:
        """Predict the next cases in the background, one after another."""
        if not self.predicts_automatically or self._prediction_queue.running_request is not None:
            return
        if not self.chosen_model:
            return  # without a model, labels are painted manually
        waiting = [row for row in self.rows if row.case.id not in self._failed_case_ids]
        if (case := case_ranking.find_case_to_predict(waiting, self.chosen_model)) is not None:
            self._prediction_queue.predict(PredictionRequest(case, self.chosen_model, urgent=False))

    def _make_case_from_selected(self) -> None:
        """Create a case from the selected image layer, unless it shows the open case."""
        selected = self._viewer.layers.selection.active
        current = self._case_controller.current
        if not isinstance(selected, ImageLayer) or (current is not None and selected is current.image_layer):
            return
        if layers.is_foreign_image(selected) and (image := layers.get_image(selected)) is not None:
            (case,) = cases.add_cases(self._workspace, [image], self.task.name)
            self._update_case(case)
            self._copy_into_project(image)
            self._case_controller.open(case, image, selected)

    def _copy_into_project(self, image: Image) -> None:
        """Copy an image without a source file into the project, so that its case can be opened again."""
        worker = Worker(_write_copy(self._workspace, image), self)
        worker.failed.connect(show_problem)
        worker.start()


def _write_copy(workspace: Workspace, image: Image) -> Generator[str]:
    yield case_files.write_image_copy(workspace.project.folder, image)
