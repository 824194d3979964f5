"""How sure a model is: per voxel, the probability that another label is right; per case, what share may be wrong."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAMPLE_STEP = 2
"""The figure of a case is taken from every second row and column, a quarter of the work for the same mean."""

SMALLEST_FOREGROUND = 0.01
"""Share of a case that counts as labelled at least, so that an empty case is not divided by nothing."""


def compute_uncertainty(logits: Tensor) -> Tensor:
    """Probability that the most likely label is wrong (least confidence, Lewis and Gale 1994).

    Parameters
    ----------
    logits
        (n, classes, h, w).

    Returns
    -------
    Tensor
        float32 (n, h, w) in [0, 1 - 1 / classes].
    """
    return 1.0 - torch.softmax(logits.float(), dim=1).amax(dim=1)


def sum_sampled_uncertainty(logits: Tensor) -> tuple[float, int, int]:
    """Sum of `compute_uncertainty` over a grid of voxels, how many of them are labelled, and how many there are."""
    sample = logits[..., ::SAMPLE_STEP, ::SAMPLE_STEP].float()
    labelled = sample[:, 1:].amax(dim=1) > sample[:, 0]
    return float(compute_uncertainty(sample).sum()), int(labelled.sum()), labelled.numel()


def compute_case_uncertainty(uncertainty_sum: float, labelled: int, voxels: int) -> float:
    """Voxels that are expected to be wrong, as a share of those that are labelled or wrong, in [0, 1).

    That is about the share of the labels that a person will have to correct, if the model's probabilities can be
    believed; it keeps the order of hopeless cases too.
    """
    return uncertainty_sum / (uncertainty_sum + max(labelled, SMALLEST_FOREGROUND * voxels, 1.0))


def convert_to_percent(uncertainty: Tensor) -> NDArray[np.uint8]:
    """Doubt as whole per cent, the form in which a map travels and is shown."""
    percent: NDArray[np.uint8] = (uncertainty * 100.0).round_().to(torch.uint8).cpu().numpy()
    return percent
