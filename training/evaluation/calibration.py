"""Whether a model's probabilities can be believed: one temperature that corrects them, and how far off they are.

Temperature scaling and the expected calibration error are those of Guo et al., On calibration of modern neural
networks, ICML 2017. Only pixels are counted that the reference or the model labels: a background that is hopelessly
easy would hide everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.inference.accumulator import merge_foreground_classes
from training.data.dataset import LabelledPlane

N_BINS = 15
PIXEL_STRIDE = 3
MAX_TEMPERATURE = 5.0
MIN_PIXELS = 500


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Logits (n, classes) of pixels that count, and their true classes (n,)."""

    logits: NDArray[np.float32]
    truth: NDArray[np.int64]


@torch.no_grad()
def sample_pixels(network: nn.Module, planes: Sequence[LabelledPlane], card: ModelCard) -> PixelSample:
    """Collect pixels of planes on the network's grid, every third along both axes.

    Of a card with instances the question is the one that its doubt answers: inside of any object, or not.
    """
    device = next(network.parameters()).device
    logits, truth = list[NDArray[np.float32]](), list[NDArray[np.int64]]()
    step = PIXEL_STRIDE
    for plane in planes:
        image = torch.from_numpy(plane.views[0][np.newaxis]).float().to(device)
        said = network(image)[..., ::step, ::step].float()
        wanted = plane.labels[::step, ::step].reshape(-1).astype(np.int64)
        looked_at = wanted != IGNORE_INDEX
        if card.instances is not None:
            said, wanted = merge_foreground_classes(said), np.minimum(wanted, 1)
        answer = said[0].flatten(1).T.cpu().numpy()
        counts = looked_at & ((wanted > 0) | (answer.argmax(axis=1) > 0))
        logits.append(answer[counts])
        truth.append(wanted[counts])
    return PixelSample(np.concatenate(logits), np.concatenate(truth))


def fit_temperature(sample: PixelSample) -> float:
    """Return the temperature with the smallest cross-entropy; 1 where there are too few pixels to tell."""
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
    """Pixels of which a model is about as sure: how sure on average, how often right, and their share of all."""

    confidence: float
    accuracy: float
    share: float


def compute_reliability_bins(sample: PixelSample, temperature: float = 1.0) -> list[CalibrationBin]:
    """Return the bins of equal width, of 15, that have any pixels; their reliability curve is `right` over
    `sure`.
    """
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
    """Mean distance between how sure a model is and how often it is right, over 15 bins of equal width, in [0, 1]."""
    return sum(one.share * abs(one.confidence - one.accuracy) for one in compute_reliability_bins(sample, temperature))
