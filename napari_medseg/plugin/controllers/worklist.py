"""The worklist: the cases of the selected task in their order, and navigation between them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.case_table.list_reader import ListReader
from napari_medseg.plugin.controllers.background_prediction import BackgroundPrediction
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.drafts.after_accept import AfterAccept
from napari_medseg.plugin.drafts.read_ahead import ReadAhead
from napari_medseg.plugin.drops.dropped_images import DroppedImages
from napari_medseg.plugin.drops.image_importer import ImageImporter
from napari_medseg.plugin.widgets.notifications import settle_messages, show_errors, show_notice, show_result
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.predict_ahead import choose_number_ahead
from napari_medseg.workflow.case_list.progress import describe_lost
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.guidance.probability_cache import MAX_CACHE_BYTES
from napari_medseg.workflow.preferences import read_preferences
from napari_medseg.workflow.remote.engine_choice import explain_no_engine
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

DONE_TOPIC = "all cases are done"
ALL_DONE = "All cases are done. Drop more images, export accepted labels, or retrain on the corrections."


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
        self.drops = DroppedImages(viewer, workspace, case_controller, self)
        self.task: Task = cases.find_last_task(workspace)
        self.model_override: str | None = None
        self.predicts_automatically = True
        self._skipped, self._unopenable = set[int](), set[int]()  # skipped: opened and left undecided
        self._failed_at: Case | None = None
        self.case_list = CaseList(workspace, self.task.name, read_preferences(workspace.registry).case_order)
        self._background = BackgroundPrediction(
            workspace,
            prediction_queue,
            self.list_ahead,
            lambda cost: choose_number_ahead(cost, self.case_list.counts.case_seconds, MAX_CACHE_BYTES),
            lambda: self.chosen_model if self._predicts_now and not self._closed else "",
        )
        self._read_ahead = ReadAhead(workspace, case_controller, prediction_queue, self)
        self._closed = False
        self._refresh_timer = QTimer(self)
        self._refresh_timer.setSingleShot(True)
        self._refresh_timer.setInterval(0)
        self._refresh_timer.timeout.connect(self.refresh)
        self.reader = ListReader(self)
        self._connect()
        self.reader.read(self.case_list)
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
        """Model version for predictions of the open case; empty if there is none, or none may or can be used."""
        if self.is_open_blind or explain_no_engine(self._workspace.engine):
            return ""
        name = self.open_task.name
        return self.chosen_model if name == self.task.name else self._workspace.registry.get_live_id(name)

    @property
    def is_open_blind(self) -> bool:
        """Whether the open case is a second reading: a newer version may have learnt from the labels of the first."""
        case = self._get_open_case()
        return case is not None and self._workspace.second_readings.is_blind(case)

    @property
    def rows(self) -> list[CaseRow]:
        """All cases of the task with their state, in the order of import; of a large list, this takes time."""
        return self.case_list.rows

    def refresh(self) -> None:
        """Emit `changed` and predict the next case. The timer merges several changes into one refresh."""
        if not self._closed:
            self.changed.emit()
            self._background.predict_next()

    def close(self) -> None:
        """Stop importing and predicting. A second call has no effect."""
        if not self._closed:
            self._closed = True
            self.reader.stop()
            self._read_ahead.close()
            self._background.close()
            self.importer.close()

    def choose_task(self, name: str) -> None:
        """List the cases of another task. Nothing else changes: the open case stays open, and no case is made."""
        if name != self.task.name:
            self.switch_task(self._workspace.tasks.get_task(name))
            self.refresh()

    def switch_task(self, task: Task) -> None:
        """Like `choose_task`; the list is shown in the next turn of the event loop."""
        if task.name != self.task.name:
            self.task, self.model_override, self._failed_at = task, None, None
            self._list_again()
            self.task_changed.emit()

    def reload_cases(self) -> None:
        """Read the list again, because cases were added to it or removed from it."""
        self.case_list.forget()
        self.reader.read(self.case_list)
        self._refresh_timer.start()

    def reload_task(self) -> None:
        """Reload the labels of the task, also in the open case. If the task was removed, select the first task."""
        book, current = self._workspace.tasks, self._case_controller.current
        self.task = book.get_task(self.task.name) if self.task.name in book else next(iter(TASKS.values()))
        self._list_again()
        if current is not None and current.case.task in book:
            layers.update_task_labels(current.image_layer, current.labels_layer, self.open_task)
        self.task_changed.emit()

    def update_cases(self, changed: Sequence[Case]) -> None:
        """Read the state of some cases again and schedule a refresh of the list."""
        for case in changed:
            self.case_list.update(case)
        self._refresh_timer.start()

    def update_case(self, case: Case | None) -> None:
        """Read the state of a case again and schedule a refresh of the list."""
        self.update_cases([] if case is None else [case])

    @property
    def can_predict(self) -> bool:
        """Whether a model exists, and a case is open or a selected image layer can become one."""
        has_image = self._get_open_case() is not None or layers.is_foreign_image(self._viewer.layers.selection.active)
        return has_image and bool(self.open_case_model)

    def set_predicts_automatically(self, predicts: bool) -> None:
        """Choose whether cases are predicted automatically."""
        self.predicts_automatically = predicts
        self._refresh_timer.start()

    def use_live_model(self) -> None:
        """Use the live version from now on. Predict the open case again unless the user has edited it."""
        self.model_override = None
        self._background.forget_failures()
        current = self._case_controller.current if self.predicts_automatically else None
        if current is not None and (current.case.task, current.state) == (self.task.name, "predicted"):
            self.predict()
        self._refresh_timer.start()

    def open(self, case: Case, image: Image | None = None, layer: ImageLayer | None = None) -> None:
        """Open a case and select its task."""
        self.switch_task(self._workspace.tasks.get_task(case.task))
        self._case_controller.open(case, image or self._read_ahead.take(case), layer)

    def step(self, by: int) -> None:
        """Go to the next (`by` = 1) or previous (-1) listed case; the list wraps around.

        From a case that is being opened it goes on: a key that is pressed twice goes two cases on.
        """
        # Not before the case that could not be opened.
        here = self._case_controller.opening or self._failed_at or self._get_open_case()
        case = self.case_list.find_beside(None if here is None else here.id, by)
        if case is None or (here is not None and case.id == here.id):
            where = "list" if self.case_list.case_filter.is_empty else "list as it is filtered; clear the filter"
            show_notice(f"There is no other case on the {where}.")
        else:
            self.open(case)

    def open_next(self, after: Case | None = None) -> None:
        """Open the undecided case that comes next in the list, or report that all are done."""
        following = self.case_list.find_next(None if after is None else after.id, self._skipped | self._unopenable)
        if following is not None and following.id not in self._unopenable:
            self.open(following)
        elif hidden := self.case_list.count_hidden(None if after is None else after.id):
            text = f"All cases that the filter shows are done; {hidden:,} others are not. Clear it to go on."
            show_result(text, topic=DONE_TOPIC)
        else:
            show_result(describe_lost(self.case_list.counts.n_left_without_image) or ALL_DONE, topic=DONE_TOPIC)

    def open_last_accepted(self) -> None:
        """Open the case that was accepted last; from that one, the one accepted before it."""
        if (case := self.case_list.find_accepted_before(self._get_open_id())) is None:
            show_notice("No case was accepted before this one.")
        else:
            self.open(case)

    def predict(self) -> None:
        """Predict the open case, or the selected image layer of any origin."""
        with show_errors():
            self.drops.add_selected_layer()
            if (current := self._case_controller.current) is not None and (model := self.open_case_model):
                self._prediction_queue.predict(PredictionRequest(current.case, model, current.image))

    def predict_again(self, chosen: Sequence[Case]) -> None:
        """Predict cases of this task in the background, before those that come next."""
        self._background.predict_first(chosen, self.chosen_model)
        self._refresh_timer.start()

    def _connect(self) -> None:
        self.reader.ended.connect(self._refresh_timer.start)
        self.drops.released.connect(self._on_opened)
        self._prediction_queue.predicted.connect(self._on_predicted)
        self._prediction_queue.image_loaded.connect(self.image_loaded)
        self._prediction_queue.changed.connect(self._refresh_timer.start)
        self._case_controller.opened.connect(self._on_opened)
        self._case_controller.open_failed.connect(self._on_open_failed)
        self._case_controller.decided.connect(lambda case: self._skipped.discard(case.id))
        self.after_accept = AfterAccept(self, self._case_controller)
        self._case_controller.state_changed.connect(lambda: self.update_case(self._get_open_case()))

    def _list_again(self) -> None:
        before, self._skipped = self.case_list, set()
        self.case_list = CaseList(self._workspace, self.task.name, before.order)
        self.case_list.being_saved = before.being_saved
        self.case_list.pin(self._get_open_id())
        self.reader.read(self.case_list)
        self._refresh_timer.start()

    def _on_opened(self) -> None:
        settle_messages(DONE_TOPIC)
        if (current := self._case_controller.current) is not None:
            self._failed_at = None
            self._unopenable.discard(current.case.id)
            self._skipped.add(current.case.id)  # until it is decided
        self.case_list.pin(self._get_open_id())
        if current is not None and current.edit_session is None and current.saved_state == "new":
            if not self.open_case_model:
                self._case_controller.show_prediction(None)  # without a model, labels are painted manually
            elif self._predicts_now:
                self.predict()
        self._refresh_timer.start()

    @property
    def _predicts_now(self) -> bool:
        is_possible = not explain_no_engine(self._workspace.engine)
        return self.predicts_automatically and not self.drops.is_held and is_possible

    def _on_predicted(self, case: Case, prediction: Prediction, labels: NDArray[Any]) -> None:
        if self._get_open_id() == case.id and not self.is_open_blind:
            with show_errors():
                self._case_controller.show_prediction(prediction, labels)
        self.update_case(case)

    def _on_open_failed(self, case: Case) -> None:
        self._failed_at = case
        self._unopenable.add(case.id)
        self._refresh_timer.start()

    def _get_open_case(self) -> Case | None:
        return None if self._case_controller.current is None else self._case_controller.current.case

    def _get_open_id(self) -> int | None:
        return None if (case := self._get_open_case()) is None else case.id

    def list_ahead(self, n_cases: int) -> list[CaseRow]:
        """Return at most so many undecided cases, those that will be opened next first; without the open one."""
        return self.case_list.list_ahead(self._get_open_id(), n_cases, self._skipped)
