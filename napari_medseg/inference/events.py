"""Progress, notices and result of a prediction: types for the predictor, the engine protocol and the window.

No torch here, because the window uses these types too.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionOptions:
    """Options of a prediction.

    `probabilities_file` gets the probabilities of all classes, see `inference.probabilities`; `None` if not wanted.
    With `with_parts`, the labels of a series also come in parts while it is predicted. `is_cancelled` is asked where
    work takes longer than a step, as a measurement does; close the prediction at the next event all the same.
    """

    with_uncertainty_map: bool = False
    probabilities_file: Path | None = None
    with_parts: bool = False
    is_cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class PredictionProgress:
    """Progress of a prediction: `done` of `total` steps, and an estimate of the remaining seconds.

    `seconds_left` is `None` while the prediction waits for another one or for the start of the engine.
    """

    done: int
    total: int
    text: str
    seconds_left: float | None


@dataclass(frozen=True)
class PredictionNotice:
    """Information for the user; the prediction continues."""

    text: str


def make_notice(text: str) -> PredictionNotice:
    """Return a notice, which is logged, too."""
    logger.info(text)
    return PredictionNotice(text)


@dataclass(frozen=True, eq=False)
class PredictionPart:
    """Labels of the first finished slices of a series, before clean-up: to look at while the rest is predicted.

    `labels`, uint8 or uint16 (n, y, x), are of the slices from `first` on. The result replaces them.
    """

    first: int
    labels: NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, eq=False)
class PredictionResult:
    """The result of a prediction.

    Parameters
    ----------
    labels
        uint8 or uint16 on the image's grid, (y, x) or (z, y, x); uint32 object numbers from a model of instances.
    uncertainty
        Orders cases by their expected error, in [0, 1]; see `inference.case_uncertainty`.
    uncertainty_map
        uint8 per cent on the same grid: probability that the voxel's label is wrong; `None` if not requested.
    seconds
        Time from request to result.
    device
        Name of the device, such as ``CPU`` or ``CUDA: ...``, with the runtime if that is not torch.
    roi
        uint8 labels of the region of interest on the same grid, such as the lungs for a model of lesions; `None` if the
        model predicts in the whole image.
    domain_distance
        Distance from the training images; above 1 the image is unlike them. `None` if the version has no statistics.
    is_like_training
        Of an adapted state (learning at Accept): the image is nearer to the training images of its version than to the
        cases learnt since, so that the version itself should predict it.
    runtime
        What computed the passes, its version and precision, such as ``torch 2.14.1, bf16``.
    """

    labels: NDArray[np.uint8 | np.uint16 | np.uint32]
    uncertainty: float
    uncertainty_map: NDArray[np.uint8] | None
    seconds: float
    device: str
    roi: NDArray[np.uint8 | np.uint16 | np.uint32] | None = None
    domain_distance: float | None = None
    is_like_training: bool = False
    runtime: str = ""


PredictionEvent = PredictionProgress | PredictionNotice | PredictionPart | PredictionResult


def get_result(events: Iterable[PredictionEvent], tell: Callable[[str], object]) -> PredictionResult:
    """Run a prediction and return its result; `tell` takes the text of each notice, such as that of a failed GPU."""
    for event in events:
        if isinstance(event, PredictionNotice):
            tell(event.text)
        elif isinstance(event, PredictionResult):
            return event
    raise AssertionError("a prediction ends with its result")


class PredictionTimer:
    """Measures the elapsed seconds of a prediction and estimates the remaining ones."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the prediction began."""
        return time.perf_counter() - self._began

    def make_progress(self, done: int, total: int, text: str) -> PredictionProgress:
        """Return the progress with the estimated remaining seconds."""
        return PredictionProgress(done, total, text, self.elapsed_seconds * (total - done) / done)


def get_roi(
    events: Iterable[PredictionEvent], task: str
) -> Generator[PredictionProgress | PredictionNotice, None, NDArray[np.uint8 | np.uint16 | np.uint32]]:
    """Return the labels of the prediction that finds the ROI; its progress says whose it is."""
    for event in events:
        if isinstance(event, PredictionResult):
            return event.labels
        if isinstance(event, PredictionProgress):
            yield replace(event, text=f"{task}: {event.text}")
        elif isinstance(event, PredictionNotice):
            yield event
    raise AssertionError("a prediction ends with its result")
