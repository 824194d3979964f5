"""Calibration of a model's probabilities: temperature scaling and the expected calibration error.

Both follow Guo et al., On calibration of modern neural networks, ICML 2017. Only pixels that the reference or the model
labels are used, because the many easy background pixels would hide all errors.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.inference.accumulator import merge_foreground_classes
from napari_medseg.inference.preprocess import PreparedImage
from training.data.dataset import LabelledPlane

N_BINS = 15
PIXEL_STRIDE = 3
MAX_TEMPERATURE = 5.0
MIN_PIXELS = 500


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Logits (n, classes) and true classes (n,) of the pixels that are used for calibration."""

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]


@torch.no_grad()
def sample_pixels(network: nn.Module, planes: Sequence[LabelledPlane], card: ModelCard) -> PixelSample:
    """Collect pixels of planes on the network's grid, every third along both axes.

    For a card with instances there are two classes, as in its uncertainty map: background, and inside any object.
    """
    device = next(network.parameters()).device
    samples = []
    for plane in planes:
        image = torch.from_numpy(plane.views[0][np.newaxis]).float().to(device)
        logits = _thin_logits(network(image), 0, card)
        samples.append(_choose_pixels(logits, plane.labels, card))
    return join_samples(samples)


class PixelSampler:
    """Collects pixels as `sample_pixels`, but during the prediction of an image, without a second forward pass.

    It is an observer of `Predictor.predict`.

    Parameters
    ----------
    card
        Card of the network.
    planes
        Indices of the planes to sample, ascending.
    """

    def __init__(self, card: ModelCard, planes: Collection[int]) -> None:
        self.planes = tuple(planes)
        self.grid: PreparedImage | None = None
        """Grid of the network's planes, without pixel values; `None` before the prediction."""
        self._card = card
        self._bands: dict[int, list[NDArray[np.float32]]] = {}

    def reset_plane(self, plane: int) -> None:
        """Delete the rows of a plane, because the predictor will send them again."""
        self._bands.pop(plane, None)

    def put_rows(self, plane: int, first: int, logits: Tensor, prepared: PreparedImage) -> None:
        """Keep every third pixel of the rows (1, classes, rows, w) from `first` on."""
        if plane not in self.planes:
            return
        self.grid = replace(prepared, planes=np.empty((0, 0, *prepared.planes.shape[-2:]), np.float32))
        self._bands.setdefault(plane, []).append(_thin_logits(logits, first, self._card))

    def make_sample(self, labels: NDArray[np.uint8]) -> PixelSample:
        """Return the sample, given the true classes (n, h, w), uint8, of the planes on the network's grid."""
        return join_samples(
            _choose_pixels(np.concatenate(self._bands[plane], axis=1), classes, self._card)
            for plane, classes in zip(self.planes, labels, strict=True)
        )


def join_samples(samples: Iterable[PixelSample]) -> PixelSample:
    """Join all samples; without samples, return an empty one with two classes."""
    found = list(samples) or [PixelSample(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))]
    logits, truth = (np.concatenate([getattr(one, part) for one in found]) for part in ("logits", "truth"))
    return PixelSample(logits, truth)


def _thin_logits(logits: Tensor, first: int, card: ModelCard) -> NDArray[np.float32]:
    """Return every third pixel (classes, rows, w) of logits (1, classes, rows, w) whose first row is `first`."""
    thinned = logits[..., -first % PIXEL_STRIDE :: PIXEL_STRIDE, ::PIXEL_STRIDE].float()
    thinned = thinned if card.instances is None else merge_foreground_classes(thinned)
    return np.array(thinned[0].cpu().numpy())  # a copy, because the memory of the network is reused


def _choose_pixels(logits: NDArray[np.float32], labels: NDArray[np.uint8], card: ModelCard) -> PixelSample:
    """Return the labelled pixels of one plane: from thinned `logits` (classes, rows, w) and full `labels` (h, w)."""
    truth = labels[::PIXEL_STRIDE, ::PIXEL_STRIDE].reshape(-1).astype(np.int64)
    is_reviewed = truth != IGNORE_INDEX
    truth = truth if card.instances is None else np.minimum(truth, 1)
    by_pixel = logits.reshape(len(logits), -1).T
    counts = is_reviewed & ((truth > 0) | (by_pixel.argmax(axis=1) > 0))
    return PixelSample(by_pixel[counts], truth[counts])


def fit_temperature(sample: PixelSample) -> float:
    """Return the temperature with the smallest cross-entropy; 1 if there are fewer than `MIN_PIXELS` pixels."""
    if len(sample.truth) < MIN_PIXELS:
        return 1.0

    def cross_entropy(log_temperature: float) -> float:
        scaled = sample.logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        right = np.take_along_axis(scaled, sample.truth[:, np.newaxis], axis=1)[:, 0]
        return float((np.log(np.exp(scaled).sum(axis=1)) - right).mean())

    widest = float(np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-widest, widest), method="bounded").x))


@dataclass(frozen=True)
class CalibrationBin:
    """Pixels of similar confidence: their mean confidence, their accuracy, and their share of all pixels."""

    confidence: float
    accuracy: float
    share: float


def compute_reliability_bins(sample: PixelSample, temperature: float = 1.0) -> list[CalibrationBin]:
    """Return the non-empty bins of 15 bins of equal width; the reliability curve is their accuracy over confidence."""
    if not len(sample.truth):
        return []
    scaled = sample.logits / temperature
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == sample.truth
    bins = np.minimum((sure * N_BINS).astype(np.int64), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    sums = np.bincount(bins, sure, N_BINS), np.bincount(bins, right, N_BINS)
    return [
        CalibrationBin(float(sums[0][index] / count), float(sums[1][index] / count), float(count / counts.sum()))
        for index, count in enumerate(counts)
        if count
    ]


def expected_calibration_error(sample: PixelSample, temperature: float = 1.0) -> float:
    """Return the mean difference between confidence and accuracy over 15 bins of equal width, in [0, 1]."""
    return sum(one.share * abs(one.confidence - one.accuracy) for one in compute_reliability_bins(sample, temperature))
