"""Scores of the agreement of labels, used by trainer, evaluation, promotion gate and window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_places.place import find_bounding_box


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces: 95th percentile and mean, in the unit of the spacing.

    Both are infinite if only one region is empty, and 0 if both are.
    """

    hd95: float
    mean: float


def compute_dice(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the Dice coefficient, in [0, 1], of two regions of the same shape (non-zero is inside).

    It is 1 if both regions are empty, and 0 if only one is.

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    n_both, n_a, n_b = _count_overlap(a, b)
    return 1.0 if n_a + n_b == 0 else 2.0 * n_both / (n_a + n_b)


@dataclass(frozen=True)
class ConfusionCounts:
    """Counts of voxels by prediction and reference. A share with no voxels in both regions is 1."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def precision(self) -> float:
        """True positives as a share of all predicted voxels."""
        found = self.true_positive + self.false_positive
        return self.true_positive / found if found else float(self.false_negative == 0)

    @property
    def recall(self) -> float:
        """True positives as a share of all reference voxels."""
        there = self.true_positive + self.false_negative
        return self.true_positive / there if there else float(self.false_positive == 0)

    @property
    def accuracy(self) -> float:
        """Share of all voxels that are classified correctly."""
        total = self.true_positive + self.false_positive + self.false_negative + self.true_negative
        return (self.true_positive + self.true_negative) / total if total else 1.0


def count_confusion(prediction: NDArray[Any], reference: NDArray[Any]) -> ConfusionCounts:
    """Count voxels by prediction and reference (same shape, non-zero is inside); `MedSegError` if shapes differ."""
    n_both, n_found, n_there = _count_overlap(prediction, reference)
    return ConfusionCounts(n_both, n_found - n_both, n_there - n_both, prediction.size - n_found - n_there + n_both)


def compute_mean_iou(prediction: NDArray[Any], reference: NDArray[Any], n_classes: int) -> float:
    """Return the mean IoU over classes that occur in either array, background (0) included; 1 without voxels.

    Both are integer arrays of the same shape with values below `n_classes`; `MedSegError` if the shapes differ.
    """
    _check_shapes(prediction, reference)
    figures = []
    for value in range(n_classes):
        ours, theirs = prediction == value, reference == value
        if (either := int(np.count_nonzero(ours | theirs))) > 0:
            figures.append(int(np.count_nonzero(ours & theirs)) / either)
    return float(np.mean(figures)) if figures else 1.0


def compute_dice_per_label(
    prediction: NDArray[Any], reference: NDArray[Any], labels: Sequence[int]
) -> dict[int, float]:
    """Return the Dice coefficient of each label value; both arrays are integers of the same shape.

    Empty labels are treated as in `compute_dice`.

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    _check_shapes(prediction, reference)
    scores = {}
    for label in labels:
        inside_prediction, inside_reference = prediction == label, reference == label
        n_sum = int(np.count_nonzero(inside_prediction)) + int(np.count_nonzero(inside_reference))
        n_both = int(np.count_nonzero(inside_prediction & inside_reference))
        scores[label] = 1.0 if n_sum == 0 else 2.0 * n_both / n_sum
    return scores


def compute_surface_distances(a: NDArray[Any], b: NDArray[Any], spacing: Sequence[float]) -> SurfaceDistances:
    """Return the distances between the surfaces of two regions, in both directions together.

    The surface consists of the voxels of a region with a face neighbour outside it, or at the border of the array. The
    95th percentile is taken over the distances of both directions together.

    Parameters
    ----------
    a, b
        Regions of the same shape (non-zero is inside).
    spacing
        One length per axis; the distances are in its unit.

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    n_both, n_a, n_b = _count_overlap(a, b)
    if n_a == 0 or n_b == 0:
        distance = 0.0 if n_a == n_b else float("inf")
        return SurfaceDistances(distance, distance)
    if n_both == n_a == n_b:
        return SurfaceDistances(0.0, 0.0)
    box = find_bounding_box((a != 0) | (b != 0))
    surface_a, surface_b = _extract_surface(a[box] != 0), _extract_surface(b[box] != 0)
    to_b = ndimage.distance_transform_edt(~surface_b, sampling=spacing)[surface_a]
    to_a = ndimage.distance_transform_edt(~surface_a, sampling=spacing)[surface_b]
    both_ways = np.concatenate([to_b, to_a])
    return SurfaceDistances(float(np.percentile(both_ways, 95)), float(both_ways.mean()))


def compute_bootstrap_interval(
    values: Sequence[float], seed: int = 0, n_samples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; the same seed gives the same interval.

    Raises
    ------
    MedSegError
        If there are no values.
    """
    if not len(values):
        raise MedSegError("an interval needs at least one value; evaluate at least one image.")
    numbers = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, numbers.size, (n_samples, numbers.size))
    low, high = np.percentile(numbers[draws].mean(axis=1), [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)])
    return float(low), float(high)


def _count_overlap(a: NDArray[Any], b: NDArray[Any]) -> tuple[int, int, int]:
    _check_shapes(a, b)
    inside_a, inside_b = a != 0, b != 0
    return int(np.count_nonzero(inside_a & inside_b)), int(np.count_nonzero(inside_a)), int(np.count_nonzero(inside_b))


def _check_shapes(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise MedSegError(
            f"labels of shape {a.shape} cannot be compared with {b.shape}; both must belong to the same image."
        )


def _extract_surface(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    surface: NDArray[np.bool_] = inside & ~ndimage.binary_erosion(inside)
    return surface
