"""The model's probabilities of the open case: read from the cache, or predicted again in the background."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.doubtful_places import find_doubtful_places
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case, Prediction
from napari_medseg.inference.probabilities.stored_probabilities import (
    DamagedProbabilities,
    StoredProbabilities,
    read_uncertainty,
)
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue, PredictionRequest
from napari_medseg.plugin.correction.editor import Editor
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.guidance.probability_cache import (
    delete_probabilities,
    explain_missing_model,
    find_prediction,
    get_prediction_path,
    open_probabilities,
)
from napari_medseg.workflow.guidance.seen_places import PlacesReview, get_seen_places_path
from napari_medseg.workflow.workspace import Workspace

NO_PREDICTION = "no model has predicted these labels. Predict this image first (G)."
LOADING = "the model's probabilities are being read. Try again in a moment."
COMPUTING = "the model's probabilities are being computed. It goes on in the background; try again when it is done."


class _Loaded(NamedTuple):
    stored: StoredProbabilities | None
    uncertainty: NDArray[np.uint8] | None
    places: PlacesReview | None


class ModelMaps(QObject):
    """Gives the editor the probabilities of the open case, and lists its doubtful places.

    Parameters
    ----------
    workspace, case_controller, queue, editor
        The project, the open case, what predicts, and what the tools use.

    Notes
    -----
    `changed` is emitted when the maps came or went. `places` are the doubtful places of the open case; `None` without
    maps, as is `uncertainty`, in per cent. `why_not` says why there are no maps; empty if there are.
    """

    changed = Signal()

    def __init__(
        self, workspace: Workspace, case_controller: CaseController, queue: PredictionQueue, editor: Editor
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._case_controller = case_controller
        self._queue = queue
        self._editor = editor
        self._worker: Worker | None = None
        self._prediction: Prediction | None = None
        self._asked_for: int | None = None
        self._is_closed = False
        self.places: PlacesReview | None = None
        self.uncertainty: NDArray[np.uint8] | None = None
        self.why_not = NO_PREDICTION
        self._timer = QTimer(self)  # a prediction may be shown after it is announced
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.refresh)
        editor.case_changed.connect(self._on_case_changed)
        queue.predicted.connect(self._on_predicted)
        queue.probabilities_ready.connect(self._on_ready)
        queue.failed.connect(self._on_failed)

    def close(self) -> None:
        """Read and ask for nothing more."""
        self._is_closed = True
        self._timer.stop()
        self._stop_reading()

    def refresh(self) -> None:
        """Read the maps of the labels that are shown, unless they are there."""
        session, current = self._editor.session, self._case_controller.current
        if self._is_closed:
            return
        if session is None or current is None:
            self._forget(NO_PREDICTION)
            return
        model = session.draft.model
        prediction = find_prediction(self._workspace, current.case, model) if model else None
        if prediction is None:
            self._forget(NO_PREDICTION)
        elif prediction != self._prediction or self.why_not:
            self._forget(LOADING)
            self._prediction = prediction
            self._read(current.case, prediction, session.draft)

    def ensure(self) -> None:
        """Raise `MedSegError` with the reason if there are no maps; then the user waits for what computes them."""
        if not self.why_not:
            return
        current = self._case_controller.current
        if self.why_not == COMPUTING and current is not None and self._prediction is not None:
            self._ask(current.case, self._prediction, urgent=True)
        raise MedSegError(self.why_not)

    def get_uncertainty_by(self, model: str) -> NDArray[np.uint8] | None:
        """Return the uncertainty of the open case by a model version, per cent; `None` if it is not kept."""
        return self.uncertainty if self._prediction is not None and self._prediction.model == model else None

    def _on_case_changed(self) -> None:
        self._asked_for = None
        self._forget(NO_PREDICTION)
        self._timer.start()

    def _on_predicted(self, case: Case, _prediction: object, _labels: object) -> None:
        if self._is_open(case):
            self._timer.start()

    def _on_ready(self, case: Case) -> None:
        if self._is_open(case):
            self.refresh()

    def _on_failed(self, request: PredictionRequest, text: str) -> None:
        if request.again is not None and request.again == self._prediction and text:
            self._forget(text)

    def _is_open(self, case: Case) -> bool:
        return self._case_controller.current is not None and self._case_controller.current.case.id == case.id

    def _read(self, case: Case, prediction: Prediction, draft: Draft) -> None:
        canvas = Canvas(draft.predicted, self._editor.task, case.spacing_mm)
        path = get_seen_places_path(self._workspace.project.folder, draft.review)
        worker = Worker(_load(self._workspace, case, prediction, canvas, path), self)
        worker.yielded.connect(lambda loaded: self._on_loaded(worker, case, prediction, loaded))
        worker.failed.connect(lambda error: self._on_unreadable(worker, case, prediction, error))
        self._worker = worker.start()

    def _on_loaded(self, worker: Worker, case: Case, prediction: Prediction, loaded: _Loaded) -> None:
        session = self._editor.session
        if worker is not self._worker or session is None:
            return
        self._worker = None
        if loaded.stored is None or loaded.places is None:
            self._compute(case, prediction)
            return
        self.why_not = ""
        self._editor.set_model_maps(cast("NDArray[Any]", loaded.stored), loaded.uncertainty)
        self.places, self.uncertainty = loaded.places, loaded.uncertainty
        self.places.mark_edited(session.draft.edited)
        self.changed.emit()

    def _on_unreadable(self, worker: Worker, case: Case, prediction: Prediction, error: MedSegError) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        if isinstance(error, DamagedProbabilities):
            folder = self._workspace.project.folder
            delete_probabilities(get_prediction_path(folder, case, prediction))
            self._compute(case, prediction)
        else:
            self._forget(str(error))

    def _compute(self, case: Case, prediction: Prediction) -> None:
        """Predict again in the background, once: if nothing was written, such as on a full disk, it would not help."""
        if reason := explain_missing_model(self._workspace, prediction):
            self._forget(reason)
        elif self._asked_for == prediction.id:
            self._forget("the model's probabilities cannot be kept: there is no room in the project's folder.")
        else:
            self._asked_for = prediction.id
            self._forget(COMPUTING)
            self._ask(case, prediction, urgent=False)

    def _ask(self, case: Case, prediction: Prediction, *, urgent: bool) -> None:
        current = self._case_controller.current
        image = None if current is None else current.image
        self._queue.predict(PredictionRequest(case, prediction.model, image, urgent=urgent, again=prediction))

    def _forget(self, why_not: str) -> None:
        self._stop_reading()
        self.places, self.uncertainty, self.why_not = None, None, why_not
        if why_not == NO_PREDICTION:
            self._prediction = None
        self._editor.set_model_maps(None, None)
        self.changed.emit()

    def _stop_reading(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


def _load(
    workspace: Workspace, case: Case, prediction: Prediction, canvas: Canvas, seen_places: Path
) -> Generator[_Loaded]:
    stored = open_probabilities(workspace, case, prediction)
    if stored is None:
        yield _Loaded(None, None, None)
        return
    uncertainty = read_uncertainty(stored)
    places = find_doubtful_places(replace(canvas, uncertainty=uncertainty))
    yield _Loaded(stored, uncertainty, PlacesReview(seen_places, prediction.model, places, canvas.shape))
