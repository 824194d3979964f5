"""What a prediction says while it runs, and what it brings."""

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
    """How far a prediction is; `done` of `total` pieces of work, and a guess of the seconds that are left."""

    done: int
    total: int
    text: str
    seconds_left: float


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
    roi
        uint8 labels of the field on the same grid, as the lungs of lesions; `None` where the model looks everywhere.
    uncertainty_map
        uint8 per cent on the same grid: probability that the voxel's label is wrong; `None` where not asked for.
    seconds
        From request to result.
    """

    labels: NDArray[np.uint8 | np.uint16 | np.uint32]
    uncertainty: float
    uncertainty_map: NDArray[np.uint8] | None
    seconds: float
    roi: NDArray[np.uint8 | np.uint16 | np.uint32] | None = None


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
