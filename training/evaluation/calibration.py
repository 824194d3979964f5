"""Calibration of a model's probabilities: temperature scaling and the expected calibration error.

Both follow Guo et al., On calibration of modern neural networks, ICML 2017, and describe all reviewed pixels. A sample
of them is kept. The prediction alone decides which ones, never the reference: the pixels that one of both labels, for
example, include all errors but few correct background pixels, so that every model seems to be overconfident.
Pixels of which the model is sure are many and alike, so fewer of them are kept, with larger weights.
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
from napari_medseg.inference.case_uncertainty import compute_error_share
from napari_medseg.inference.preprocess import PreparedImage
from training.data.dataset import LabelledPlane

N_BINS = 15
PIXEL_STRIDE = 3
MAX_TEMPERATURE = 5.0
MIN_PIXELS = 500
SURE_CONFIDENCE = 0.99
MAX_SURE_PIXELS = 4000
"""At most so many pixels of one plane and one predicted label are kept of those predicted with `SURE_CONFIDENCE`."""


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Logits (n, classes), true classes (n,) and weights (n,) of the pixels that are used for calibration.

    The weight of a pixel is how many pixels it stands for.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


@torch.no_grad()
def sample_pixels(network: nn.Module, planes: Sequence[LabelledPlane], card: ModelCard) -> PixelSample:
    """Sample pixels of planes on the network's grid: from every third row and column, without the padding.

    For a card with instances there are two classes, as in its uncertainty map: background, and inside any object.
    """
    device = next(network.parameters()).device
    samples = []
    for plane in planes:
        image = torch.from_numpy(plane.views[0][np.newaxis]).float().to(device)
        logits = _thin_logits(network(image), 0, card)
        samples.append(_choose_pixels(logits, plane.labels, plane.unpadded_shape or plane.labels.shape, card))
    return join_samples(samples)


class PixelSampler:
    """Samples pixels as `sample_pixels`, but during the prediction of an image, without a second forward pass.

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
        assert self.grid is not None
        shape = self.grid.plane_shape
        return join_samples(
            _choose_pixels(np.concatenate(self._bands[plane], axis=1), classes, shape, self._card)
            for plane, classes in zip(self.planes, labels, strict=True)
        )


def join_samples(samples: Iterable[PixelSample]) -> PixelSample:
    """Join all samples; without samples, return an empty one with two classes."""
    found = list(samples) or [PixelSample(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), np.zeros(0))]
    parts = (np.concatenate([getattr(one, part) for one in found]) for part in ("logits", "truth", "weights"))
    return PixelSample(*parts)


def _thin_logits(logits: Tensor, first: int, card: ModelCard) -> NDArray[np.float32]:
    """Return every third pixel (classes, rows, w) of logits (1, classes, rows, w) whose first row is `first`."""
    thinned = logits[..., -first % PIXEL_STRIDE :: PIXEL_STRIDE, ::PIXEL_STRIDE].float()
    thinned = thinned if card.instances is None else merge_foreground_classes(thinned)
    return np.array(thinned[0].cpu().numpy())  # a copy, because the memory of the network is reused


def _choose_pixels(
    logits: NDArray[np.float32], labels: NDArray[np.uint8], unpadded_shape: tuple[int, ...], card: ModelCard
) -> PixelSample:
    """Return a sample of one plane: from thinned `logits` (classes, rows, w) and full `labels` (h, w)."""
    height, width = unpadded_shape
    classes = labels[:height:PIXEL_STRIDE, :width:PIXEL_STRIDE]
    rows, columns = classes.shape
    by_pixel, truth = logits[:, :rows, :columns].reshape(len(logits), -1).T, classes.reshape(-1).astype(np.int64)
    is_known = truth != IGNORE_INDEX if card.instances is not None else truth < len(logits)
    by_pixel, truth = by_pixel[is_known], truth[is_known]  # not of ignored pixels, nor of labels for several classes
    truth = truth if card.instances is None else np.minimum(truth, 1)
    weights = _weight_pixels(by_pixel)
    return PixelSample(by_pixel[weights > 0], truth[weights > 0], weights[weights > 0])


def _weight_pixels(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weight (n,) of each pixel, 0 if it is left out, from the logits (n, classes) alone.

    A stratum is a label predicted with `SURE_CONFIDENCE`. Its weights add up to its number of pixels. All other pixels
    are kept.
    """
    probabilities = _compute_probabilities(logits, 1.0)
    predicted, is_sure = probabilities.argmax(axis=1), probabilities.max(axis=1) >= SURE_CONFIDENCE
    weights = np.ones(len(logits))
    rng = np.random.default_rng(0)
    for label in range(logits.shape[1]):
        stratum = np.flatnonzero(is_sure & (predicted == label))
        if len(stratum) > MAX_SURE_PIXELS:
            weights[stratum] = 0.0
            weights[rng.choice(stratum, MAX_SURE_PIXELS, replace=False)] = len(stratum) / MAX_SURE_PIXELS
    return weights


def _compute_probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return the softmax (n, classes) of logits (n, classes) divided by the temperature."""
    scaled = logits / np.float32(temperature)
    shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = shares / shares.sum(axis=1, keepdims=True)
    return result


def fit_temperature(sample: PixelSample) -> float:
    """Return the temperature with the smallest cross-entropy; 1 if there are fewer than `MIN_PIXELS` pixels."""
    if len(sample.truth) < MIN_PIXELS:
        return 1.0

    def cross_entropy(log_temperature: float) -> float:
        scaled = sample.logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        right = np.take_along_axis(scaled, sample.truth[:, np.newaxis], axis=1)[:, 0]
        losses = np.log(np.exp(scaled).sum(axis=1)) - right
        return float(np.average(losses, weights=sample.weights))

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
    probabilities = _compute_probabilities(sample.logits, temperature)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == sample.truth
    bins = np.minimum((sure * N_BINS).astype(np.int64), N_BINS - 1)
    totals, confidence, accuracy = (
        np.bincount(bins, values * sample.weights, N_BINS) for values in (np.ones(len(bins)), sure, right)
    )
    return [
        CalibrationBin(float(confidence[index] / total), float(accuracy[index] / total), float(total / totals.sum()))
        for index, total in enumerate(totals)
        if total
    ]


def expected_calibration_error(sample: PixelSample, temperature: float = 1.0) -> float:
    """Return the mean difference between confidence and accuracy over 15 bins of equal width, in [0, 1]."""
    return sum(one.share * abs(one.confidence - one.accuracy) for one in compute_reliability_bins(sample, temperature))


@dataclass(frozen=True)
class ErrorShares:
    """Wrong pixels, divided by labelled and wrong pixels: what the probabilities promise, and what is true."""

    expected: float
    true: float


def compare_error_shares(sample: PixelSample, temperature: float = 1.0) -> ErrorShares:
    """Compare the uncertainty of a case, as `compute_error_share` defines it, with the true share of errors."""
    probabilities = _compute_probabilities(sample.logits, temperature)
    predicted = probabilities.argmax(axis=1)
    wrong = float(sample.weights[predicted != sample.truth].sum())
    labelled, n_pixels = round(sample.weights[predicted > 0].sum()), round(sample.weights.sum())
    uncertainty_sum = float(((1.0 - probabilities.max(axis=1)) * sample.weights).sum())
    expected, true = (compute_error_share(total, labelled, n_pixels) for total in (uncertainty_sum, wrong))
    return ErrorShares(expected, true)
