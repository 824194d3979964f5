"""Automatic predictions: first the open case, then in the background the cases that come next."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionNotice, PredictionPart, PredictionProgress, PredictionResult
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.guidance.probability_cache import predict_probabilities
from napari_medseg.workflow.learning.next_draft import choose_state
from napari_medseg.workflow.learning.states import AdaptedState
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True, eq=False)
class PredictionRequest:
    """One case to predict.

    If `image` is `None`, it is read in the thread. `urgent` means that the user waits for the result. `again` is a
    prediction whose probabilities are computed again; then the labels are not recorded. `state` is the adapted state of
    the model that predicts, chosen when the request starts.
    """

    case: Case
    model: str
    image: Image | None = None
    urgent: bool = True
    again: Prediction | None = None
    state: AdaptedState | None = None


class PredictionQueue(QObject):
    """Runs one prediction at a time; an urgent one interrupts a background prediction.

    Notes
    -----
    `changed` is emitted when a prediction starts or ends. `progressed` carries the `PredictionProgress` of an urgent
    prediction, `part_predicted` its case and a `PredictionPart`, `predicted` the case, its new `Prediction` and the
    labels, `image_loaded` a case and its image, `failed` a request and an error message, which is empty if napari has
    shown the error, `read_failed` the same if the image could not be read, `notice_received` a message, and
    `probabilities_ready` the case of a request for them.
    """

    changed = Signal()
    progressed = Signal(object)
    predicted = Signal(object, object, object)
    part_predicted = Signal(object, object)
    image_loaded = Signal(object, object)
    failed = Signal(object, str)
    read_failed = Signal(object, str)
    notice_received = Signal(str)
    probabilities_ready = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._worker: Worker | None = None
        self._running: PredictionRequest | None = None
        self._waiting: PredictionRequest | None = None
        self._following: PredictionRequest | None = None  # in the background, before all others
        self._unseen: list[PredictionPart] = []  # of the running prediction, before somebody waits for it
        self._cancelled = False
        self._is_read = False
        self._has_outcome = False

    @property
    def has_urgent_request(self) -> bool:
        """Whether the user waits for a prediction."""
        return any(request is not None and request.urgent for request in (self._running, self._waiting))

    @property
    def running_request(self) -> PredictionRequest | None:
        """The running request; `None` if there is none."""
        return self._running

    def predict(self, request: PredictionRequest) -> None:
        """Predict now. If the same prediction already runs in the background, it becomes urgent."""
        running = self._running
        if running is not None and _have_equal_aim(running, request):
            self._running = replace(running, urgent=running.urgent or request.urgent)
            self.changed.emit()
            self._tell_parts()
        elif running is None:
            self._start(request)
        elif request.again is not None and not request.urgent:
            self._following = request
        elif request.urgent:
            self._waiting = request
            self._interrupt(gracefully=not running.urgent)
            self.changed.emit()

    def cancel(self) -> None:
        """Stop the urgent prediction and discard its partial result."""
        self._waiting = None
        if self._running is not None and self._running.urgent:
            self._interrupt()

    def leave_open_case(self, case: Case) -> None:
        """Stop a background prediction of a case that was opened with an earlier one: its draft must not change."""
        running = self._running
        if running is not None and not running.urgent and running.again is None and running.case.id == case.id:
            self._interrupt(gracefully=True)

    def close(self) -> None:
        """Stop all predictions and wait at most half a second for the thread."""
        self._waiting = self._following = None
        if (worker := self._worker) is not None:
            self._interrupt()
            worker.wait(timeout_s=0.5)

    def _start(self, request: PredictionRequest) -> None:
        if request.again is None:
            request = replace(request, state=choose_state(self._workspace, request.case, request.model))
        self._running, self._waiting, self._cancelled, self._unseen = request, None, False, []
        self._is_read, self._has_outcome = request.image is not None, False
        worker = self._worker = Worker(_predict_case(self._workspace, request), self)
        worker.yielded.connect(self._on_item)
        worker.failed.connect(self._on_failed)
        worker.ended.connect(lambda: self._on_ended(worker))
        worker.start()
        self.changed.emit()

    def _interrupt(self, *, gracefully: bool = False) -> None:
        """Cancel at once, whatever the thread does: reading the image, or writing the labels of a large result.

        The engine stops or is killed. The thread ends by itself at its next item, and nothing of it is delivered.
        """
        self._cancelled = True
        if gracefully:
            self._workspace.engine.cancel_gracefully()
        else:
            self._workspace.engine.cancel()
        if (worker := self._worker) is not None:
            worker.stop()
            self._on_ended(worker)

    def _on_item(self, item: object) -> None:
        request = self._running
        if request is None or self._cancelled:
            return
        match item:
            case Image():
                self._is_read = True
                self.image_loaded.emit(request.case, item)
            case PredictionProgress() if request.urgent:
                self.progressed.emit(item)
            case PredictionPart() if request.again is None:
                self._unseen.append(item)
                self._tell_parts()
            case PredictionNotice(text=text) if request.urgent:
                self.notice_received.emit(text)
            case PredictionResult() if request.again is not None:
                self._has_outcome = True
            case PredictionResult():
                self._record(request, item)

    def _tell_parts(self) -> None:
        """Tell the parts of an urgent prediction, with those that came before somebody waited for it."""
        if (request := self._running) is None or not request.urgent:
            return
        parts, self._unseen = self._unseen, []
        for part in parts:
            self.part_predicted.emit(request.case, part)

    def _record(self, request: PredictionRequest, result: PredictionResult) -> None:
        try:
            with translate_errors():  # such as a full disk
                prediction = review.record_prediction(self._workspace, request.case, result, request.model)
        except MedSegError as error:
            self._on_failed(error)
        else:
            self._has_outcome = True
            self.predicted.emit(request.case, prediction, result.labels)

    def _on_failed(self, error: MedSegError) -> None:
        if self._running is None or self._has_outcome:
            return
        self._has_outcome = True
        if not isinstance(error, PredictionCancelled):
            (self.failed if self._is_read else self.read_failed).emit(self._running, str(error))

    def _on_ended(self, worker: Worker) -> None:
        if worker is not self._worker:
            return
        if not self._cancelled:
            self._on_failed(MedSegError(""))  # no result and no reason: a bug, which napari has shown
        ended, self._running, self._worker, self._unseen = self._running, None, None, []
        if ended is not None and ended.again is not None and self._has_outcome and not self._cancelled:
            self.probabilities_ready.emit(ended.case)
        waiting = self._waiting or self._following
        if waiting is self._following:
            self._following = None
        if waiting is not None:
            self._start(waiting)
        else:
            self.changed.emit()


def _predict_case(workspace: Workspace, request: PredictionRequest) -> Generator[Any]:
    image = request.image
    if image is None:
        image = cases.load_image(workspace, request.case)
    yield image
    if request.again is not None:
        yield from predict_probabilities(workspace, request.case, image, request.again)
    else:
        case, model, state = request.case, request.model, request.state
        yield from review.predict(workspace, case, image, model, with_probabilities=True, state=state)


def _have_equal_aim(one: PredictionRequest, other: PredictionRequest) -> bool:
    """Whether two requests give the same; one that records labels gives probabilities, too."""
    is_equal = (one.case.id, one.model) == (other.case.id, other.model)
    return is_equal and (one.again is None or other.again is not None)
