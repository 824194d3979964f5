"""A prediction of a bundled slice on a device: whether it works, whether it is right, and how long it takes."""

import time
from dataclasses import dataclass, field

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError, explain, get_reason
from napari_medseg.core.model_registry import BUNDLED_MODELS
from napari_medseg.core.quality.metrics import compute_dice_per_label
from napari_medseg.inference.events import PredictionNotice, PredictionResult
from napari_medseg.inference.tuning.settings import TuningSettings
from napari_medseg.workflow.workspace import PACKAGE_DIR

MODEL_FOLDER = BUNDLED_MODELS / "lungs-unet" / "4"
SLICE = PACKAGE_DIR / "samples" / "ct_a0001" / "dicom" / "A0001_z031.dcm"
LABELS = PACKAGE_DIR / "samples" / "ct_a0001" / "labels" / "A0001_z031.tif"
MIN_DICE = 0.9
"""The bundled model reaches 0.97 on every device that computes correctly."""


@dataclass(frozen=True)
class TrialPrediction:
    """One trial on one device.

    Parameters
    ----------
    device
        Name of the device that was asked for.
    load_s, first_s, second_s
        Seconds to load the model, and of the first and the second prediction.
    dice
        Mean Dice of both lungs against the bundled labels.
    notices
        What the predictor reported, such as that memory ran out.
    problem
        Why the trial failed; empty if it did not.
    """

    device: str
    load_s: float = 0.0
    first_s: float = 0.0
    second_s: float = 0.0
    dice: float = 0.0
    notices: tuple[str, ...] = field(default=())
    problem: str = ""


def try_prediction(device: str) -> TrialPrediction:
    """Predict a bundled CT slice twice; an error becomes the `problem` of the result."""
    return _try(device, None)


def try_measured_prediction(device: str, settings: TuningSettings | None = None) -> TrialPrediction:
    """Measure the fastest way to compute on a device, then try it as `try_prediction`."""
    return _try(device, settings or TuningSettings())


def _try(device: str, settings: TuningSettings | None) -> TrialPrediction:
    try:
        return _predict_twice(device, settings)
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with this computer is what the report is for
        message = explain(error) or MedSegError(f"{type(error).__name__}: {get_reason(error)}")
        return TrialPrediction(device, problem=str(message))


def _predict_twice(device: str, settings: TuningSettings | None) -> TrialPrediction:
    from napari_medseg.inference.predictor import Predictor

    image = formats.read(SLICE)
    wanted = formats.read_labels(LABELS, image)
    began = time.perf_counter()
    predictor = Predictor.load(MODEL_FOLDER, device, tuning=settings)
    load_s, seconds, notices = time.perf_counter() - began, list[float](), list[str]()
    if settings is not None:
        predictor.predict_labels(image, notices.append)
        predictor.tune(at_once=True)
    dice = 0.0
    for _ in range(2):
        for event in predictor.predict(image):
            if isinstance(event, PredictionNotice):
                notices.append(event.text)
            elif isinstance(event, PredictionResult):
                seconds.append(event.seconds)
                scores = compute_dice_per_label(event.labels, wanted, (1, 2))
                dice = sum(scores.values()) / len(scores)
    problem = ""
    if dice < MIN_DICE:
        problem = f"the labels are wrong: Dice {dice:.3f} instead of at least {MIN_DICE}. Do not use this device."
    elif predictor.fell_back_at is not None:
        problem = f"the CPU had to take over: {notices[-1]}"
    title = device if settings is None else predictor.device_title
    return TrialPrediction(title, load_s, seconds[0], seconds[1], dice, tuple(notices), problem)
