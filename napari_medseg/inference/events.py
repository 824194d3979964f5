"""What a prediction reports while it runs, and its result: one set of types for the predictor, the wire and the window.

No torch here: the window has these types too.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PredictionOptions:
    """What else a prediction should bring."""

    with_uncertainty_map: bool = False


@dataclass(frozen=True)
class PredictionProgress:
    """How far a prediction is: `done` of `total` pieces of work, and an estimate of the seconds that are left.

    `seconds_left` is `None` while the prediction waits for its turn or for the engine to start.
    """

    done: int
    total: int
    text: str
    seconds_left: float | None


@dataclass(frozen=True)
class PredictionNotice:
    """Something a person should know; the prediction goes on."""

    text: str


@dataclass(frozen=True, eq=False)
class PredictionResult:
    """The prediction.

    Parameters
    ----------
    labels
        uint8 or uint16 on the image's own grid; uint32 numbers of objects from a model of instances.
    uncertainty
        Share of the labels that is expected to be wrong, in [0, 1].
    uncertainty_map
        uint8 per cent on the same grid: probability that the voxel's label is wrong; `None` where not asked for.
    seconds
        From request to result.
    device
        What computed it, as in ``CPU`` or ``CUDA: ...``.
    roi
        uint8 labels of the region of interest on the same grid, such as the lungs for a model of lesions; `None` where
        the model predicts in the whole image.
    """

    labels: NDArray[np.uint8 | np.uint16 | np.uint32]
    uncertainty: float
    uncertainty_map: NDArray[np.uint8] | None
    seconds: float
    device: str
    roi: NDArray[np.uint8 | np.uint16 | np.uint32] | None = None


PredictionEvent = PredictionProgress | PredictionNotice | PredictionResult


class PredictionTimer:
    """Seconds since a prediction began, and how many are left at this pace."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the prediction began."""
        return time.perf_counter() - self._began

    def make_progress(self, done: int, total: int, text: str) -> PredictionProgress:
        """Return how far it is, with the seconds that are left at this pace."""
        return PredictionProgress(done, total, text, self.elapsed_seconds * (total - done) / done)
