"""Predicts the next cases while the user corrects the open one, and backs off while predictions fail."""

from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.widgets.back_off import BackOff
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.workflow import case_ranking
from napari_medseg.workflow.cases import CaseRow

MAX_ATTEMPTS = 4
MS_PER_S = 1000


class BackgroundPrediction(QObject):
    """Starts one prediction after another for the cases of a list.

    After a failure, such as a full disk, it waits before the next attempt, first seconds, then minutes. Cases that did
    not fail come first, and a case that failed `MAX_ATTEMPTS` times is left alone until the user predicts it.

    Parameters
    ----------
    queue
        Runs the predictions. Those that the user asked for are counted too.
    list_cases
        Returns the rows of the list, and the open case or `None`.
    get_model
        Returns the version to predict with; empty if there is none, or if nothing must be predicted automatically.
    back_off
        Delay after failures.
    """

    def __init__(
        self,
        queue: PredictionQueue,
        list_cases: Callable[[], tuple[Sequence[CaseRow], Case | None]],
        get_model: Callable[[], str],
        back_off: BackOff | None = None,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._list_cases = list_cases
        self._get_model = get_model
        self._back_off = back_off or BackOff()
        self._n_failures: dict[int, int] = {}
        self._preloaded: tuple[int, Image] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.predict_next)
        queue.predicted.connect(self._on_predicted)
        queue.image_loaded.connect(self._on_read)
        queue.failed.connect(self._on_failed)
        queue.read_failed.connect(self._on_read_failed)

    def close(self) -> None:
        """Start no further prediction, and let go of the queue."""
        self._timer.stop()
        self._queue.predicted.disconnect(self._on_predicted)
        self._queue.image_loaded.disconnect(self._on_read)
        self._queue.failed.disconnect(self._on_failed)
        self._queue.read_failed.disconnect(self._on_read_failed)

    def predict_next(self) -> None:
        """Predict the next case of the list, unless a prediction runs or the last one failed just now."""
        model = self._get_model()
        if not model or self._queue.running_request is not None:
            return
        if left_s := self._back_off.seconds_left:
            self._timer.start(round(left_s * MS_PER_S) + 1)
        elif (case := self._find_case(model)) is not None:
            self._queue.predict(PredictionRequest(case, model, urgent=False))

    def take_image(self, case: Case) -> Image | None:
        """Return the image of a case if it was read as that of the next case; it is kept no longer."""
        if self._preloaded is None or self._preloaded[0] != case.id:
            return None
        image, self._preloaded = self._preloaded[1], None
        return image

    def forget_failures(self) -> None:
        """Try all cases again, because another model is live."""
        self._n_failures.clear()
        self._back_off.record_success()

    def _find_case(self, model: str) -> Case | None:
        rows, _ = self._list_cases()
        for n_failures in range(MAX_ATTEMPTS):
            candidates = [row for row in rows if self._n_failures.get(row.case.id, 0) == n_failures]
            if (case := case_ranking.find_case_to_predict(candidates, model)) is not None:
                return case
        return None

    def _on_read(self, case: Case, image: Image) -> None:
        rows, open_case = self._list_cases()
        if open_case is not None and open_case.id == case.id:
            return  # the open case is never the next one
        following = case_ranking.find_next_case(rows, open_case)
        if following is not None and following.id == case.id:
            self._preloaded = (case.id, image)

    def _on_predicted(self, case: Case, _prediction: object, _labels: object) -> None:
        self._n_failures.pop(case.id, None)
        self._back_off.record_success()

    def _on_failed(self, request: PredictionRequest, text: str) -> None:
        n_before = self._n_failures.get(request.case.id, 0)
        self._n_failures[request.case.id] = n_before + 1
        is_news = self._back_off.record_failure() and not n_before
        if request.urgent or is_news:
            show_problem(text)

    def _on_read_failed(self, request: PredictionRequest, text: str) -> None:
        """Leave a case without its image alone. The reason is shown when the user opens it."""
        self._n_failures[request.case.id] = MAX_ATTEMPTS
        if request.urgent:
            show_problem(text)
