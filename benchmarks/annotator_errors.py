"""What is wrong with labels: the score, wrong places, false objects, and what a simulated annotator overlooks."""

import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from annotator_hand import Mask
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.metrics import compute_dice_per_label
from napari_medseg.core.tasks.bundled_tasks import Task

OVERLOOKED = 0.1
MATCHED = 0.5
"""Above this IoU an object is found."""
MIN_ERROR_PX = 4
Labels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class WrongPlace:
    """A connected region, number `number` of `parts` (y, x), that lacks the label `value`."""

    parts: NDArray[np.int32]
    number: int
    box: tuple[slice, slice]
    n_px: int
    value: int

    @cached_property
    def region(self) -> Mask:
        """Its pixels in the image."""
        region = np.zeros(self.parts.shape, np.bool_)
        region[self.box] = self.parts[self.box] == self.number
        return region

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Its middle (y, x)."""
        return find_centre(self.parts[self.box] == self.number) + [side.start for side in self.box]


def compute_score(labels: Labels, truth: Labels, task: Task) -> float:
    """Mean Dice of the labels of the truth, or F1 of numbered objects at an IoU above 0.5.

    A label that the truth does not have would count as 0 for its last forgotten voxel.
    """
    if task.instances:
        return compute_object_scores(labels, truth).f1
    present = [int(v) for v in np.unique(truth) if v]
    return statistics.fmean(compute_dice_per_label(labels, truth, present).values()) if present else 1.0


def overlook(draft: Labels, truth: Labels, task: Task, rng: np.random.Generator) -> Labels:
    """Return what the annotator believes: the truth, but one error of the draft in ten is not seen."""
    believed = truth.copy()
    if task.instances:
        for number in np.unique(truth[truth > 0]).tolist():
            if rng.random() < OVERLOOKED and compute_best_overlap(draft, truth == number) <= MATCHED:
                believed[truth == number] = 0
        return believed
    for place in find_wrong_places(draft, truth, np.zeros(truth.shape, np.bool_)):
        if rng.random() < OVERLOOKED:
            believed[place.region] = draft[place.region]
    return believed


def find_centre(region: Mask) -> NDArray[np.float64]:
    """Return the middle (y, x) of a region."""
    return np.argwhere(region).mean(axis=0)


def find_wrong_places(labels: Labels, right: Labels, given_up: Mask) -> list[WrongPlace]:
    """Return connected regions that lack one right label; the largest first, tiny ones left out."""
    wrong = (labels != right) & ~given_up
    places = []
    for value in np.unique(right[wrong]).tolist():
        parts, n = ndimage.label(wrong & (right == value))
        sizes, boxes = np.bincount(parts.ravel()), ndimage.find_objects(parts)
        places += [
            WrongPlace(parts, k, boxes[k - 1], int(sizes[k]), int(value))
            for k in range(1, n + 1)
            if sizes[k] >= MIN_ERROR_PX
        ]
    return sorted(places, key=lambda place: -place.n_px)


def find_false_objects(labels: Labels, truth: Labels) -> list[int]:
    """Numbers of objects of the draft that match no object of the truth, such as what is left of one that was split."""
    numbers, areas = np.unique(labels[labels > 0], return_counts=True)
    matched = [_matches_one(labels == n, int(area), truth) for n, area in zip(numbers, areas, strict=True)]
    return [int(n) for n, is_true in zip(numbers, matched, strict=True) if not is_true]


def _matches_one(region: Mask, area: int, truth: Labels) -> bool:
    inside = truth[region]
    counts = np.bincount(inside[inside > 0].astype(np.int64))
    if not counts.size:
        return False
    number = int(counts.argmax())
    shared = int(counts[number])
    return shared > MATCHED * (area + int(np.count_nonzero(truth == number)) - shared)


def compute_best_overlap(labels: Labels, region: Mask) -> float:
    """IoU of a region with the object of the draft that covers most of it."""
    inside = labels[region]
    counts = np.bincount(inside[inside > 0].astype(np.int64))
    if not counts.size:
        return 0.0
    number = int(counts.argmax())
    total = int(np.count_nonzero(labels == number)) + int(region.sum()) - int(counts[number])
    return float(counts[number] / total)
