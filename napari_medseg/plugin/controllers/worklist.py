"""The worklist: imported cases, and the order of review."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.utils.notifications import show_info, show_warning
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.detection import describe_import, detect_task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.background_prediction import BackgroundPrediction
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.image_importer import ImageImporter
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import case_ranking, cases
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.hold_out import held_out_groups
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
        self._batch: list[Case] = []
        self._unopenable: set[int] = set()
        self._failed_at: Case | None = None
        self._cases = cases.TaskCases(workspace, self.task.name)
        self._background = BackgroundPrediction(prediction_queue, self._list_following, self._get_background_model)
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

    @property
    def open_task(self) -> Task:
        """The task of the open case, which may differ from that of the list; the task of the list without a case."""
        current, book = self._case_controller.current, self._workspace.tasks
        name = self.task.name if current is None else current.case.task
        return book.get_task(name) if name in book else self.task

    @property
    def open_case_model(self) -> str:
        """Model version for predictions of the open case; empty if there is none."""
        name = self.open_task.name
        return self.chosen_model if name == self.task.name else self._workspace.registry.get_live_id(name)

    @property
    def last_drop(self) -> tuple[Case, ...]:
        """The cases of the images that were dropped or opened last, together."""
        return tuple(self._batch)

    def refresh(self) -> None:
        """Emit `changed` and predict the next case. The timer merges several changes into one refresh."""
        if not self._closed:
            self.changed.emit()
            self._background.predict_next()

    @property
    def rows(self) -> list[CaseRow]:
        """All cases of the task with their state, in the order of import."""
        return self._cases.rows

    def close(self) -> None:
        """Stop importing and predicting. A second call has no effect."""
        if not self._closed:
            self._closed = True
            self._background.close()
            self.importer.close()

    def choose_task(self, name: str) -> None:
        """List the cases of another task. Nothing else changes: the open case stays open, and no case is made."""
        if name != self.task.name:
            self._switch_task(self._workspace.tasks.get_task(name))
            self.refresh()

    def reload_cases(self) -> None:
        """Read the list again, because cases were added to it or removed from it."""
        self._cases.forget()
        self._refresh_timer.start()

    def reload_task(self) -> None:
        """Reload the labels of the task, also in the open case. If the task was removed, select the first task."""
        book, current = self._workspace.tasks, self._case_controller.current
        self.task = book.get_task(self.task.name) if self.task.name in book else next(iter(TASKS.values()))
        self._cases = cases.TaskCases(self._workspace, self.task.name)
        if current is not None and current.case.task in book:
            layers.update_task_labels(current.image_layer, current.labels_layer, self.open_task)
        self.task_changed.emit()
        self._refresh_timer.start()

    @property
    def can_predict(self) -> bool:
        """Whether a model exists, and a case is open or a selected image layer can become one."""
        open_or_selected = self._case_controller.current is not None
        open_or_selected |= layers.is_foreign_image(self._viewer.layers.selection.active)
        return open_or_selected and bool(self.open_case_model)

    def set_predicts_automatically(self, predicts: bool) -> None:
        """Choose whether cases are predicted automatically."""
        self.predicts_automatically = predicts
        self._refresh_timer.start()

    def use_live_model(self) -> None:
        """Use the live version from now on. Predict the open case again unless the user has edited it."""
        self.model_override = None
        self._background.forget_failures()
        current = self._case_controller.current
        is_listed = current is not None and current.case.task == self.task.name
        if current is not None and is_listed and current.state == "predicted" and self.predicts_automatically:
            self.predict()
        self._refresh_timer.start()

    def set_held_out(self, group: str, held_out: bool) -> None:
        """Add a group to the hold-out or remove it."""
        with show_errors():
            held_out_groups.set_held_out(self._workspace, group, held_out)
        self.reload_cases()

    def open(self, case: Case, image: Image | None = None, layer: ImageLayer | None = None) -> None:
        """Open a case and select its task."""
        self._switch_task(self._workspace.tasks.get_task(case.task))
        self._case_controller.open(case, image or self._background.take_image(case), layer)

    def step(self, by: int) -> None:
        """Go to the next (`by` = 1) or previous (-1) case in the list; the list wraps around."""
        if all_cases := [row.case for row in self.rows]:
            ids = [case.id for case in all_cases]
            here = self._failed_at or self._get_open_case()  # not before the case that could not be opened
            place = ids.index(here.id) if here is not None and here.id in ids else -max(0, by)
            self.open(all_cases[(place + by) % len(ids)])

    def open_next(self, after: Case | None = None) -> None:
        """Open the case with the highest expected benefit per minute of review, or report that all are done."""
        rows = cases.list_cases(self._workspace) if after is None else self.rows
        openable = [row for row in rows if row.case.id not in self._unopenable]
        following = case_ranking.find_next_case(openable, after)
        if following is None:
            show_info("All cases are done. Drop more images, export accepted labels, or retrain on the corrections.")
        else:
            self.open(following)

    def predict(self) -> None:
        """Predict the open case, or the selected image layer of any origin."""
        with show_errors():
            self._make_case_from_selected()
            if (current := self._case_controller.current) is not None and (model := self.open_case_model):
                self._prediction_queue.predict(PredictionRequest(current.case, model, current.image))

    def _connect(self) -> None:
        self.importer.began.connect(self._batch.clear)
        self.importer.image_imported.connect(self._on_image_imported)
        self.importer.failed.connect(show_warning)
        self.importer.finished.connect(self._on_batch_ended)
        self._prediction_queue.predicted.connect(self._on_predicted)
        self._prediction_queue.image_loaded.connect(self.image_loaded)
        self._prediction_queue.changed.connect(self._refresh_timer.start)
        self._case_controller.opened.connect(self._on_opened)
        self._case_controller.open_failed.connect(self._on_open_failed)
        self._case_controller.decided.connect(self._on_decided)
        self._case_controller.state_changed.connect(lambda: self._update_case(self._get_open_case()))

    def _on_image_imported(self, image: Image, layer: ImageLayer | None) -> None:
        self._detect_task(image, layers.get_requested_task(layer))
        try:
            with translate_errors():
                (case,) = cases.add_cases(self._workspace, [image], self.task.name)
        except MedSegError as error:
            layers.remove(self._viewer, layer)
            show_problem(error)
            return
        self.importer.add_notes(describe_import(image, self.task))
        self._batch.append(case)
        self.image_loaded.emit(case, image)
        if len(self._batch) == 1:
            self.open(case, image.give_name(case.name, case.group), layer)  # no message names the patient
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
            show_info(f"By its look: task set to {task.title}. If this is wrong, press U to choose another one.")
            self._switch_task(task)

    def _switch_task(self, task: Task) -> None:
        if task.name != self.task.name:
            self.task, self.model_override, self._failed_at = task, None, None
            self._cases = cases.TaskCases(self._workspace, task.name)
            self.task_changed.emit()
            self._refresh_timer.start()

    def _on_batch_ended(self) -> None:
        if len(self._batch) > 1:
            show_info(f"{len(self._batch)} images were added to the list (next case: D)")

    def _on_opened(self) -> None:
        if (current := self._case_controller.current) is not None:
            self._failed_at = None
            self._unopenable.discard(current.case.id)
        if current is not None and current.edit_session is None and current.saved_state == "new":
            if not self.open_case_model:
                self._case_controller.show_prediction(None)  # without a model, labels are painted manually
            elif self.predicts_automatically:
                self.predict()
        self._refresh_timer.start()

    def _on_predicted(self, case: Case, prediction: Prediction, labels: NDArray[Any]) -> None:
        if (current := self._get_open_case()) is not None and current.id == case.id:
            with show_errors():
                self._case_controller.show_prediction(prediction, labels)
        self._update_case(case)

    def _on_open_failed(self, case: Case) -> None:
        self._failed_at = case
        self._unopenable.add(case.id)
        self._refresh_timer.start()

    def _update_case(self, case: Case | None) -> None:
        """Read the state of a case again and schedule a refresh of the list."""
        if case is not None:
            self._cases.update(case)
        self._refresh_timer.start()

    def _on_decided(self, case: Case) -> None:
        with show_errors():
            self._update_case(case)
            if not self._case_controller.work.has_call_waiting:  # the user has chosen the next case already
                self.open_next(case)

    def _get_open_case(self) -> Case | None:
        return None if self._case_controller.current is None else self._case_controller.current.case

    def _list_following(self) -> tuple[list[CaseRow], Case | None]:
        return self.rows, self._get_open_case()

    def _get_background_model(self) -> str:
        return self.chosen_model if self.predicts_automatically and not self._closed else ""

    def _make_case_from_selected(self) -> None:
        """Create a case from the selected image layer if it belongs to the user or another plugin."""
        selected = self._viewer.layers.selection.active
        if layers.is_foreign_image(selected) and (image := layers.get_image(selected)) is not None:
            (case,) = cases.add_cases(self._workspace, [image], self.task.name)
            self._update_case(case)
            # Without a source file, the case can be opened again only from a copy in the project.
            worker = Worker(_write_copy(self._workspace, image), self)
            worker.failed.connect(show_problem)
            worker.start()
            self._case_controller.open(case, image.give_name(case.name, case.group), selected)


def _write_copy(workspace: Workspace, image: Image) -> Generator[str]:
    yield case_files.write_image_copy(workspace.project.folder, image)
