"""Class weights and class sampling, for images where most pixels are background and some classes are rare."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.label_sets import unmark_certain


def compute_inverse_frequency_weights(
    planes: Sequence[Sequence[NDArray[np.integer]]], weights: Sequence[float], n_classes: int
) -> Tensor:
    """Return the weight of each class: its inverse share of the valid pixels, scaled to a mean pixel weight of 1.

    Parameters
    ----------
    planes
        Labels (h, w) of the planes of each training image.
    weights
        Relative frequency with which each image is drawn.
    n_classes
        Number of classes of the network, including background. A class without pixels has weight 1.

    Returns
    -------
    Tensor
        (n_classes,) float32.
    """
    shares = np.zeros(n_classes)
    for labels, weight in zip(planes, weights, strict=True):
        counts = np.sum(
            [np.bincount(plane.ravel(), minlength=IGNORE_INDEX + 1)[:n_classes] for plane in labels], axis=0
        )
        shares += weight * counts / max(1, counts.sum())
    present = shares > 0
    frequent = np.ones(n_classes)
    frequent[present] = shares.sum() / (present.sum() * shares[present])
    return torch.tensor(frequent, dtype=torch.float32)


def list_foreground_classes(labels: NDArray[np.integer]) -> tuple[int, ...]:
    """Return the classes in a plane (h, w), ascending, without background and `IGNORE_INDEX`."""
    counts = np.bincount(unmark_certain(labels).ravel(), minlength=IGNORE_INDEX + 1)
    counts[[0, IGNORE_INDEX]] = 0
    return tuple(int(value) for value in np.flatnonzero(counts))


def choose_random_pixel(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """Return the centre (row, column), in pixels, of a random pixel of a mask (h, w), uniformly drawn."""
    places = np.flatnonzero(mask)
    row, column = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return row + 0.5, column + 0.5
