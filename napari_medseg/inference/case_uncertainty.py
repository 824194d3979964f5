"""The uncertainty of a case: one figure that orders cases by their expected error, from the pass that predicts."""

from typing import NamedTuple

import torch
from torch import Tensor

UNCERTAINTY_SAMPLE_STEP = 2
"""The uncertainty of a case is computed from every second row and column: a quarter of the work, the same mean."""

MIN_FOREGROUND_SHARE = 0.01
"""Minimum share of labelled voxels in the denominator, so that the uncertainty of an empty case is defined."""


class PixelSums(NamedTuple):
    """Sums over the sampled pixels of a plane or a case.

    Parameters
    ----------
    uncertainty
        Of `compute_uncertainty`: the expected number of wrong pixels.
    labelled, voxels
        Number of pixels with a label, and of all pixels.
    entropy
        Of the probabilities, in nats.
    background_inside
        Of the probability of background, over the labelled pixels.
    """

    uncertainty: float
    labelled: float
    voxels: float
    entropy: float
    background_inside: float


def sum_sampled_uncertainty(logits: Tensor, measured: Tensor | None = None) -> PixelSums:
    """Sum over every second row and column of logits (n, classes, h, w).

    Pixels that are False in `measured` (h, w) are left out.
    """
    sample = logits[..., ::UNCERTAINTY_SAMPLE_STEP, ::UNCERTAINTY_SAMPLE_STEP].float()
    logarithms = torch.log_softmax(sample, dim=1)
    probabilities = logarithms.exp()
    labelled = sample[:, 1:].amax(dim=1) > sample[:, 0]
    uncertainty, entropy = 1.0 - probabilities.amax(dim=1), -(probabilities * logarithms).sum(dim=1)
    background = probabilities[:, 0] * labelled
    if measured is not None:
        counted = measured[::UNCERTAINTY_SAMPLE_STEP, ::UNCERTAINTY_SAMPLE_STEP].to(sample.device)
        uncertainty, entropy = uncertainty[:, counted], entropy[:, counted]
        background, labelled = background[:, counted], labelled[:, counted]
    sums = (float(part.sum()) for part in (entropy, background))
    return PixelSums(float(uncertainty.sum()), float(labelled.sum()), float(labelled.numel()), *sums)


def compute_error_share(uncertainty_sum: float, labelled: float, voxels: float) -> float:
    """Return the expected number of wrong voxels, divided by the labelled and wrong voxels, in [0, 1).

    If the model is calibrated, this is about the share of the labels that a person must correct. It also ranks very
    uncertain cases.
    """
    return uncertainty_sum / (uncertainty_sum + max(labelled, MIN_FOREGROUND_SHARE * voxels, 1.0))


def compute_case_uncertainty(sums: PixelSums, *, with_objects: bool) -> float:
    """Return the figure that orders cases by their expected error, in [0, 1].

    It is the expected share of wrong labels, plus the mean entropy of all pixels, which finds what the share misses: a
    model that hesitates in many places although it labels much. For objects the first part is their mean probability of
    being background, because a doubtful object costs more than doubtful borders. Chosen on validation images among
    thirty such figures; `benchmarks/unlike.py` reports the rank correlation with the true error.

    Parameters
    ----------
    sums
        Of the whole case.
    with_objects
        Whether the labels are numbered objects.
    """
    if with_objects and sums.labelled:
        share = sums.background_inside / sums.labelled
    else:
        share = compute_error_share(sums.uncertainty, sums.labelled, sums.voxels)
    return min(1.0, share + sums.entropy / max(1.0, sums.voxels))
