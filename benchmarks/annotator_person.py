"""A simulated annotator: takes the action that mends most per second, until the labels are good enough."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from annotator_actions import (
    Action,
    list_deletions,
    list_label_actions,
    list_object_actions,
    list_strokes,
    list_whole_label_actions,
)
from annotator_hand import Effort, Hand, Mask, TimeModel
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.image import Image
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.metrics import compute_dice_per_label
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.drafts import Draft

OVERLOOKED = 0.1
MATCHED = 0.5
"""Above this IoU an object is found."""
MIN_ERROR_PX = 4
N_PLACES = 4
"""The largest wrong places that the annotator weighs at a time."""
MAX_ACTIONS = 150
WHOLE_LABEL_STEPS = 5
"""Tools for whole labels are weighed at every fifth step: they take the computer as long as all others."""
BOLDNESS = (1.0, 1.5, 2.0)
"""Exponents of the mended voxels. With 1 the annotator takes what mends most per second, which may be many small
things; with more, one large stroke comes before several small ones that leave as much to do."""
MAX_TRIES = 3
"""For one object: a join, then a cut; or a stroke that the hand missed."""
Labels = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Work:
    """An image to correct: its draft by the model, what the model says, the truth, and what the annotator believes."""

    task: Task
    image: Image
    draft: Labels
    truth: Labels
    probability: Any


@dataclass
class Diary:
    """What was done, and what it took."""

    effort: Effort = field(default_factory=Effort)
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, action: Action) -> None:
        """Write an action down."""
        self.effort += action.effort
        self.actions[action.name] += 1


class Annotator:
    """Corrects one draft towards what it believes to be true."""

    def __init__(
        self, work: Work, draft: Draft, believed: Labels, hand: Hand, *, has_tools: bool, boldness: float = 1.0
    ) -> None:
        self.work, self.draft, self.believed, self.hand, self.has_tools = work, draft, believed, hand, has_tools
        self.boldness = boldness
        self.diary = Diary()
        self.times = TimeModel()

    def correct(self, goal: float, limit_s: float = math.inf) -> float:
        """Work until the score against the truth reaches the goal, nothing more is seen, or it takes longer than that.

        Return the score.
        """
        steps = self._correct_objects(goal) if self.work.task.instances else self._correct_labels(goal)
        for _ in zip(range(MAX_ACTIONS), steps, strict=False):
            if self.diary.effort.compute_seconds(self.times, self.hand.zoom) > limit_s:
                break
        return self.score()

    def score(self) -> float:
        """Mean Dice of the labels, or F1 of the objects, against the truth."""
        return compute_score(self.draft.labels, self.work.truth, self.work.task)

    def _correct_labels(self, goal: float) -> Iterator[None]:
        given_up: Labels = np.zeros(self.believed.shape, np.bool_)
        for number in count():
            if self.score() >= goal:
                return
            places = find_wrong_places(self.draft.labels, self.believed, given_up)
            if not places:
                return
            candidates = [action for region, value in places[:N_PLACES] for action in self._list_actions(region, value)]
            if self.has_tools and number % WHOLE_LABEL_STEPS == 0 and self.work.draft.any():
                candidates += list_whole_label_actions(self._canvas())
            done = list(self._take_best(candidates, Effort(looks=1)))
            if not done:
                given_up |= places[0][0]
            yield None

    def _list_actions(self, region: Mask, value: int) -> Iterator[Action]:
        """Yield what mends a wrong region, and strokes over the whole structure: a thin rim costs as much alone."""
        canvas = self._canvas()
        yield from list_label_actions(canvas, region, value, self.hand, has_tools=self.has_tools)
        if value:
            parts, _ = ndimage.label(self.believed == value)
            whole = parts == parts[np.unravel_index(int(region.argmax()), region.shape)]
            if np.count_nonzero(whole) > np.count_nonzero(region):
                yield from list_strokes(canvas, whole, value, self.hand, has_tools=self.has_tools)

    def _correct_objects(self, goal: float) -> Iterator[None]:
        for number in np.unique(self.believed[self.believed > 0]).tolist():
            for _ in range(MAX_TRIES):
                if self.score() >= goal or self._find_match(number):
                    break
                canvas = self._canvas()
                actions = list_object_actions(canvas, self.believed, number, self.hand, has_tools=self.has_tools)
                self._take_cheapest(list(actions), number)
                yield None
        for number in find_false_objects(self.draft.labels, self.believed):
            if self.score() >= goal:
                return
            actions = list_deletions(self._canvas(), number, self.hand, has_tools=self.has_tools)
            if listed := list(actions):
                self._do(min(listed, key=self._price), Effort(looks=1))
                yield None

    def _take_best(self, candidates: Sequence[Action] | Iterator[Action], looks: Effort) -> Iterator[None]:
        """Do the action that mends most for its seconds, if any mends more than it spoils."""
        mending = [(n, action) for action in candidates if (n := self._count_mended(action)) > 0]
        if mending:
            best = max(mending, key=lambda pair: pair[0] ** self.boldness / self._price(pair[1]))
            self._do(best[1], looks)
            yield None

    def _take_cheapest(self, candidates: list[Action], number: int) -> None:
        """Do the cheapest action after which the object is found; if there is none, the one that comes nearest."""
        rated = [(self._measure_match(action, number), action) for action in candidates]
        if not rated:
            return
        found = [pair for pair in rated if pair[0] > MATCHED]
        chosen = min(found, key=lambda pair: self._price(pair[1])) if found else max(rated, key=lambda pair: pair[0])
        self._do(chosen[1], Effort(looks=1))

    def _do(self, action: Action, looks: Effort) -> None:
        self.draft.record_edit(action.edit)
        self.diary.add(Action(action.name, action.effort + looks, action.edit))
        if action.brush is not None:
            self.hand.remember(*action.brush)

    def _price(self, action: Action) -> float:
        return action.effort.compute_seconds(self.times, self.hand.zoom) + self.times.look_s

    def _count_mended(self, action: Action) -> int:
        indices, believed = action.edit.stroke.indices, self.believed.reshape(-1)
        right = believed[indices]
        stroke = action.edit.stroke
        return int(np.count_nonzero(stroke.new == right)) - int(np.count_nonzero(stroke.old == right))

    def _find_match(self, number: int) -> bool:
        return compute_best_overlap(self.draft.labels, self.believed == number) > MATCHED

    def _measure_match(self, action: Action, number: int) -> float:
        labels = (
            self.draft.labels.copy() if self.draft.labels.dtype == np.uint32 else self.draft.labels.astype(np.uint32)
        )
        action.edit.apply(labels)
        return compute_best_overlap(labels, self.believed == number)

    def _canvas(self) -> Canvas:
        image = self.work.image
        return Canvas(
            self.draft.labels,
            self.work.task,
            image.spacing_mm,
            image=image.pixels if self.has_tools else None,
            probability=self.work.probability if self.has_tools else None,
        )


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
    for region, _ in find_wrong_places(draft, truth, np.zeros(truth.shape, np.bool_)):
        if rng.random() < OVERLOOKED:
            believed[region] = draft[region]
    return believed


def find_wrong_places(labels: Labels, right: Labels, given_up: Mask) -> list[tuple[Mask, int]]:
    """Return connected regions that lack one right label, with it; the largest first, tiny ones left out."""
    wrong = (labels != right) & ~given_up
    places = []
    for value in np.unique(right[wrong]).tolist():
        parts, n = ndimage.label(wrong & (right == value))
        sizes = np.bincount(parts.ravel())
        places += [(int(sizes[k]), parts == k, int(value)) for k in range(1, n + 1) if sizes[k] >= MIN_ERROR_PX]
    return [(region, value) for _, region, value in sorted(places, key=lambda place: -place[0])]


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
