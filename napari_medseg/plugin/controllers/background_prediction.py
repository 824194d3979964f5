"""Predicts the next cases while the user corrects the open one, and backs off while predictions fail."""

import sys
import time
from collections.abc import Callable, Sequence

from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.records import Case, Prediction
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.widgets.back_off import BackOff
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.workflow.case_list.predict_ahead import PredictionCost
from napari_medseg.workflow.case_list.ranking import needs_prediction
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.guidance.probability_cache import measure_probabilities
from napari_medseg.workflow.learning.next_draft import find_state, find_withdrawn_drafts
from napari_medseg.workflow.workspace import Workspace

MAX_ATTEMPTS = 4
N_BY_NEWEST = 3
"""So many of the cases that come next are predicted again when an adapted state is new, see `workflow.learning`. All
drafts that learnt from a correction which no longer counts are predicted again."""
MS_PER_S = 1000


class BackgroundPrediction(QObject):
    """Starts one prediction after another: those that the user asked for, then the cases that will be opened next.

    After a failure, such as a full disk, it waits before the next attempt, first seconds, then minutes. Cases that did
    not fail come first, and a case that failed `MAX_ATTEMPTS` times is left alone until the user predicts it.

    Parameters
    ----------
    workspace, queue
        The project, and what runs the predictions. Those that the user asked for are counted too.
    list_ahead
        Returns at most so many undecided cases, those that will be opened next first.
    choose_number
        Returns how many cases are predicted ahead, given what a prediction costs.
    get_model
        Returns the version to predict ahead with; empty if there is none, or if nothing must be predicted
        automatically. What the user asked for is predicted all the same, with the version of then.
    back_off
        Delay after failures.
    """

    def __init__(
        self,
        workspace: Workspace,
        queue: PredictionQueue,
        list_ahead: Callable[[int], Sequence[CaseRow]],
        choose_number: Callable[[PredictionCost], int],
        get_model: Callable[[], str],
        back_off: BackOff | None = None,
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._queue = queue
        self._list_ahead = list_ahead
        self._choose_number = choose_number
        self._get_model = get_model
        self._back_off = back_off or BackOff()
        self._cost = PredictionCost()
        self._began_s = 0.0
        self._requested: dict[int, PredictionRequest] = {}
        self._n_failures: dict[int, int] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.predict_next)
        queue.predicted.connect(self._on_predicted)
        queue.failed.connect(self._on_failed)
        queue.read_failed.connect(self._on_read_failed)

    def close(self) -> None:
        """Start no further prediction, and let go of the queue."""
        self._timer.stop()
        self._requested.clear()
        self._queue.predicted.disconnect(self._on_predicted)
        self._queue.failed.disconnect(self._on_failed)
        self._queue.read_failed.disconnect(self._on_read_failed)

    @property
    def n_requested(self) -> int:
        """How many cases that the user asked for are not predicted yet."""
        return len(self._requested)

    def predict_first(self, chosen: Sequence[Case], model: str) -> None:
        """Predict cases with a version, also those with a prediction, before the ones that come next.

        This stays so if another task is shown meanwhile, or predicting ahead is switched off.
        """
        for case in chosen:
            self._n_failures.pop(case.id, None)
            self._requested[case.id] = PredictionRequest(case, model, urgent=False)

    def predict_next(self) -> None:
        """Predict the next case of the list, unless a prediction runs or the last one failed just now."""
        if self._queue.running_request is not None or (request := self._find_request(self._get_model())) is None:
            return
        if left_s := self._back_off.seconds_left:
            self._timer.start(round(left_s * MS_PER_S) + 1)
        else:
            self._began_s = time.monotonic()
            self._queue.predict(request)

    def forget_failures(self) -> None:
        """Try all cases again, because another model is live."""
        self._n_failures.clear()
        self._back_off.record_success()

    def _find_request(self, model: str) -> PredictionRequest | None:
        following = self._list_following(model) if model else []
        for n_failures in range(MAX_ATTEMPTS):
            for request in [*self._requested.values(), *following]:
                if self._n_failures.get(request.case.id, 0) == n_failures:
                    return request
        return None

    def _list_following(self, model: str) -> list[PredictionRequest]:
        """Return what is predicted ahead, and the drafts of adapted states that are withdrawn, however far they are."""
        n_ahead = self._choose_number(self._cost) + len(self._n_failures)
        rows = self._list_ahead(sys.maxsize)
        state = find_state(self._workspace, rows[0].case.task, model) if rows else None
        newest = "" if state is None else state.sha256
        withdrawn = find_withdrawn_drafts(self._workspace, rows, state)
        is_left = self._workspace.adapted.is_left_to_version
        by_newest = withdrawn | {row.case.id for row in rows[:N_BY_NEWEST] if not is_left(state, row.case)}
        return [
            PredictionRequest(row.case, model, urgent=False)
            for place, row in enumerate(rows)
            if place < n_ahead or (row.case.id in withdrawn and row.prediction and row.prediction.model == model)
            if needs_prediction(row, model, newest if row.case.id in by_newest else None)
        ]

    def _on_predicted(self, case: Case, prediction: Prediction, _labels: object) -> None:
        self._requested.pop(case.id, None)
        self._n_failures.pop(case.id, None)
        self._back_off.record_success()
        if self._began_s:
            n_bytes = measure_probabilities(self._workspace.project.folder, case, prediction)
            self._cost = self._cost.add(time.monotonic() - self._began_s, n_bytes)
            self._began_s = 0.0

    def _on_failed(self, request: PredictionRequest, text: str) -> None:
        self._began_s = 0.0
        n_before = self._n_failures.get(request.case.id, 0)
        self._n_failures[request.case.id] = n_before + 1
        if n_before + 1 >= MAX_ATTEMPTS:
            self._requested.pop(request.case.id, None)
        is_news = self._back_off.record_failure() and not n_before
        if request.urgent or is_news:
            show_problem(text)

    def _on_read_failed(self, request: PredictionRequest, text: str) -> None:
        """Leave a case without its image alone. The reason is shown when the user opens it, or had asked for it."""
        self._began_s = 0.0
        self._n_failures[request.case.id] = MAX_ATTEMPTS
        was_requested = self._requested.pop(request.case.id, None) is not None
        if request.urgent or was_requested:
            show_problem(text)
