"""The cache of probabilities in a project: one file for each case and model version, 2 GB in all.

It holds nothing that a person made. Deleting it loses nothing, a file that is damaged or was evicted is predicted
again, and nothing of it is exported. Files are named by numbers and hashes only.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.inference.probabilities.stored_probabilities import DamagedProbabilities, StoredProbabilities
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)

CACHE_FOLDER = "cache"
MAX_CACHE_BYTES = 2 * 10**9
_HASH_CHARS = 16
_SUFFIX = ".probabilities.zip"


def get_probabilities_path(folder: Path, case: Case, model: str, roi_model: str = "", adapted_sha256: str = "") -> Path:
    """Return the path of the probabilities of a case by a model version; the file may not exist.

    Parameters
    ----------
    folder
        Project folder.
    case, model
        The case, and the version, such as ``lungs-unet@3``.
    roi_model
        Version that found the region of interest; empty if there is none.
    adapted_sha256
        Hash of the adapted weights of the version, if those predicted.
    """
    adapted = f"\n{adapted_sha256}" if adapted_sha256 else ""
    digest = hashlib.sha256(f"{case.content_hash}\n{model}\n{roi_model}{adapted}".encode()).hexdigest()
    return folder / CACHE_FOLDER / f"{case.id}-{digest[:_HASH_CHARS]}{_SUFFIX}"


def get_prediction_path(folder: Path, case: Case, prediction: Prediction) -> Path:
    """Return the path of the probabilities of a prediction; the file may not exist."""
    return get_probabilities_path(folder, case, prediction.model, prediction.field_model, prediction.adapted_sha256)


def open_probabilities(ws: Workspace, case: Case, prediction: Prediction) -> StoredProbabilities | None:
    """Return the stored probabilities of a prediction; `None` if they must be predicted again.

    A damaged file, or one by other weights of the same name, is deleted.
    """
    path = get_prediction_path(ws.project.folder, case, prediction)
    try:
        stored = StoredProbabilities(path, case.spatial_shape)
        if not explain_missing_model(ws, prediction):
            of_version = ws.registry.get_card(prediction.model).weights_sha256
            _check_weights(stored, prediction.adapted_sha256 or of_version)
        os.utime(path)  # used now: others are evicted first
    except FileNotFoundError:
        return None
    except DamagedProbabilities as error:
        logger.info("%s", error)
        delete_probabilities(path)
        return None
    except OSError as error:  # such as a read-only project: what is in memory can be used all the same
        logger.info("%s: %s", path, get_reason(error))
    return stored


def measure_probabilities(folder: Path, case: Case, prediction: Prediction) -> int:
    """Return how many bytes the probabilities of a prediction take; 0 if there are none. `folder` is the project's."""
    try:
        return get_prediction_path(folder, case, prediction).stat().st_size
    except OSError:
        return 0


def predict_probabilities(ws: Workspace, case: Case, image: Image, prediction: Prediction) -> Iterator[PredictionEvent]:
    """Predict the probabilities of a prediction again, into the cache; the labels of the result are not needed.

    It may run in a worker thread. Raises `MedSegError` if the model is no longer there, see `explain_missing_model`.
    """
    if reason := explain_missing_model(ws, prediction):
        raise MedSegError(reason)
    weights_folder = _find_weights_folder(ws, prediction)
    assert weights_folder is not None
    events = ws.engine.predict(
        image,
        weights_folder,
        roi_folder=ws.registry.get_folder(prediction.field_model) if prediction.field_model else None,
        probabilities_file=get_prediction_path(ws.project.folder, case, prediction),
    )
    return _evict_afterwards(events, ws.project.folder)


def find_prediction(ws: Workspace, case: Case, model: str) -> Prediction | None:
    """Return the newest prediction of a case by a model version; `None` if there is none."""
    found = [one for one in ws.project.read_records(Prediction, "case_id", case.id) if one.model == model]
    return found[-1] if found else None


def explain_missing_model(ws: Workspace, prediction: Prediction) -> str:
    """Return why the probabilities of a prediction cannot be computed again; empty if they can."""
    for model in (prediction.model, prediction.field_model):
        try:
            if model:
                ws.registry.get_card(model)
        except MedSegError:
            return (
                f"{model}, which made this draft, is no longer there, so its probabilities cannot be computed. "
                "Predict again with another model; what you edited stays."
            )
    if _find_weights_folder(ws, prediction) is None:
        return (
            f"the state {prediction.model_title}, which made this draft, was replaced by a newer one, so its "
            "probabilities cannot be computed. Predict again; what you edited stays."
        )
    return ""


def delete_probabilities(path: Path) -> None:
    """Delete a file of the cache; if another program holds it, it stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.info("%s stays: %s", path, get_reason(error))


def evict_probabilities(folder: Path, max_bytes: int = MAX_CACHE_BYTES) -> None:
    """Delete the files that were not used for the longest time until the cache has at most `max_bytes`.

    The newest file always stays. It only uses files, so it may run in a worker thread. `folder` is that of the project.
    """
    found = []
    try:
        for entry in os.scandir(folder / CACHE_FOLDER):
            if entry.name.endswith(_SUFFIX) and not entry.name.startswith(TEMPORARY_PREFIX):
                found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    except OSError:  # no cache, or a file that was deleted meanwhile: the next prediction tries again
        return
    found.sort(reverse=True)
    total = 0
    for number, (_, n_bytes, path) in enumerate(found):
        total += n_bytes
        if number and total > max_bytes:
            delete_probabilities(Path(path))


def _find_weights_folder(ws: Workspace, prediction: Prediction) -> Path | None:
    """Return the folder of the version, or of the adapted state, that made a prediction; `None` if that is gone."""
    if not prediction.adapted_sha256:
        return ws.registry.get_folder(prediction.model)
    state = ws.adapted.get(ws.registry.get_card(prediction.model).task)
    return None if state is None or state.sha256 != prediction.adapted_sha256 else state.folder


def _check_weights(stored: StoredProbabilities, weights_sha256: str) -> None:
    if stored.header.weights_sha256 != weights_sha256:
        raise DamagedProbabilities("the probabilities were written by another model of this name.")


def _evict_afterwards(events: Iterator[PredictionEvent], folder: Path) -> Iterator[PredictionEvent]:
    yield from events
    evict_probabilities(folder)
