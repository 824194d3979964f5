"""How far two label arrays of one case agree: Dice over its labels, and Hausdorff distance of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.metrics import compute_dice, compute_surface_distances
from napari_medseg.core.tasks.bundled_tasks import Task

MILLIMETRES, PIXELS = "mm", "px"


@dataclass(frozen=True)
class LabelsAgreement:
    """Dice of two label arrays, `None` if both are empty, and the number of voxels with a label in either."""

    dice: float | None
    labelled_voxels: int


@dataclass(frozen=True)
class LabelScore:
    """Agreement of one label: Dice, `None` if neither has it, and the 95 % Hausdorff distance, `None` if one lacks it.

    The distance is in millimetres if the case knows its spacing, else in pixels.
    """

    value: int
    dice: float | None
    hd95: float | None


def compute_agreement(
    one: NDArray[Any], other: NDArray[Any], task: Task, reviewed: NDArray[np.bool_] | None = None
) -> LabelsAgreement:
    """Compare two label arrays of one case, integers of the same shape.

    Dice is the mean over the labels of the task that occur in either. Numbers of objects mean nothing between two
    arrays, so in an instance task it is that of "there is an object".

    Parameters
    ----------
    one, other, task
        Labels, (y, x) or (z, y, x), and their task.
    reviewed
        Only these pixels count; `None` for all.

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    if one.shape != other.shape:
        raise MedSegError(f"labels of shape {one.shape} cannot be compared with {other.shape}; use those of one image.")
    if reviewed is not None:
        one, other = one * reviewed, other * reviewed
    if task.instances:
        n_labelled = int(np.count_nonzero((one != 0) | (other != 0)))
        return LabelsAgreement(compute_dice(one, other) if n_labelled else None, n_labelled)
    pairs = _count_pairs(one, other, task.largest_value + 1)
    sums = pairs.sum(axis=0) + pairs.sum(axis=1)
    present = [label.value for label in task.labels if sums[label.value]]
    scores = [2.0 * pairs[value, value] / sums[value] for value in present]
    return LabelsAgreement(float(np.mean(scores)) if scores else None, int(pairs.sum() - pairs[0, 0]))


def _count_pairs(one: NDArray[Any], other: NDArray[Any], n_values: int) -> NDArray[np.int64]:
    """Return how often each pair of values occurs, shape (n, n); values beyond `n_values` make it larger.

    Planes without labels are skipped, and a plane is counted in one pass: a series is compared whenever it is accepted.
    """
    n = max(n_values, int(one.max(initial=0)) + 1, int(other.max(initial=0)) + 1)
    pairs = np.zeros(n * n, np.int64)
    planes = zip(one.reshape(-1, *one.shape[-2:]), other.reshape(-1, *other.shape[-2:]), strict=True)
    n_empty = 0
    for plane, other_plane in planes:
        if plane.any() or other_plane.any():
            pairs += np.bincount((plane.astype(np.intp) * n + other_plane).ravel(), minlength=n * n)
        else:
            n_empty += plane.size
    pairs[0] += n_empty
    return pairs.reshape(n, n)


def compute_label_scores(
    one: NDArray[Any], other: NDArray[Any], task: Task, spacing_mm: tuple[float, ...] | None
) -> tuple[LabelScore, ...]:
    """Compare two label arrays label by label; an instance task has one score, of its first label.

    Parameters
    ----------
    one, other, task
        As in `compute_agreement`.
    spacing_mm
        Voxel size in millimetres, one length per axis; `None` for distances in pixels.

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    spacing = spacing_mm or (1.0,) * one.ndim
    first = task.labels[0].value
    regions = (
        [(first, one != 0, other != 0)]
        if task.instances
        else [(label.value, one == label.value, other == label.value) for label in task.labels]
    )
    return tuple(_score_region(value, a, b, spacing) for value, a, b in regions)


def _score_region(value: int, a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, ...]) -> LabelScore:
    has_a, has_b = bool(a.any()), bool(b.any())
    if not has_a and not has_b:
        return LabelScore(value, None, None)
    dice = compute_dice(a, b)
    return LabelScore(value, dice, compute_surface_distances(a, b, spacing).hd95 if has_a and has_b else None)
