"""A simulated annotator: takes the action that mends most per second, until the labels are good enough."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
from annotator_actions import (
    Action,
    list_label_actions,
    list_outlines,
    list_specks,
    list_strokes,
    list_whole_label_actions,
)
from annotator_errors import (
    MATCHED,
    Labels,
    compute_best_overlap,
    compute_score,
    find_centre,
    find_false_objects,
    find_wrong_places,
)
from annotator_hand import Effort, Hand, Mask, TimeModel
from annotator_objects import list_deletions, list_object_actions
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.drafts import Draft

N_PLACES = 4
"""The largest wrong places that the annotator weighs at a time, and as many of those that are in sight."""
SIGHT_PX = 100.0
"""Pixels of the screen around the place that was looked at last: what is nearer is in sight, without another look.
2.6 cm on a screen of 96 dpi, 2.5 degrees at 60 cm; the eye reads fine detail up to about there (Rayner, Psychological
Bulletin 1998, parafovea: up to 5 degrees)."""
MAX_ACTIONS, MAX_OBJECT_ACTIONS = 150, 600
"""An annotator that has done so much gives up. A field may have two hundred nuclei that take an action each."""
WHOLE_LABEL_STEPS = 5
"""Tools for whole labels are weighed at every fifth step: they take the computer as long as all others."""
BOLDNESS = (1.0, 1.5, 2.0)
"""Exponents of the mended voxels. With 1 the annotator takes what mends most per second, which may be many small
things; with more, one large stroke comes before several small ones that leave as much to do."""
N_PASSES = 2
"""Objects that were spoilt while others were corrected are corrected in a second pass."""
MAX_TRIES = 3
"""For one object: a join, then a cut; or a stroke that the hand missed."""


@dataclass(frozen=True, eq=False)
class Work:
    """An image to correct: its draft by the model, the truth, what the model says, and how far the eye reaches.

    `is_searched`: whether the annotator has to look for the errors.
    """

    task: Task
    image: Image
    draft: Labels
    truth: Labels
    probability: Any
    sight_px: float = SIGHT_PX
    is_searched: bool = False


@dataclass
class Diary:
    """What was done, and what it took."""

    effort: Effort = field(default_factory=Effort)
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, action: Action) -> None:
        """Write an action down."""
        self.effort += action.effort
        self.actions[action.name] += 1


@dataclass(frozen=True, eq=False)
class Candidate:
    """An action, and the wrong region (y, x) that it is meant for; `None` for one on the whole image.

    `is_seen` says whether it needs no look, for its price.
    """

    action: Action
    region: Mask | None = None
    is_seen: bool = False


class Annotator:
    """Corrects one draft towards what it believes to be true."""

    def __init__(
        self, work: Work, draft: Draft, believed: Labels, hand: Hand, *, has_tools: bool, boldness: float = 1.0
    ) -> None:
        self.work, self.draft, self.believed, self.hand, self.has_tools = work, draft, believed, hand, has_tools
        self.boldness = boldness
        hand.plans = True
        self.diary = Diary()
        self.times = TimeModel()
        self._looked_at: NDArray[np.float64] | None = None
        self._given_up: Mask = np.zeros(believed.shape, np.bool_)
        self._has_removed_specks = False

    def correct(self, goal: float, limit_s: float = math.inf) -> float:
        """Work until the score against the truth reaches the goal, nothing more is seen, or it takes longer than that.

        Return the score.
        """
        limit = MAX_OBJECT_ACTIONS if self.work.task.instances else MAX_ACTIONS
        for _ in zip(range(limit), self._take_steps(goal), strict=False):
            if self.diary.effort.compute_seconds(self.times, self.hand.zoom) > limit_s:
                break
        return self.score()

    def score(self) -> float:
        """Mean Dice of the labels, or F1 of the objects, against the truth."""
        return compute_score(self.draft.labels, self.work.truth, self.work.task)

    def _take_steps(self, goal: float) -> Iterator[None]:
        """Correct one thing after the other, and yield after each."""
        return self._correct_objects(goal) if self.work.task.instances else self._correct_labels(goal)

    def _notices(self, centre: NDArray[np.float64], n_px: int) -> bool:
        """Whether it knows of something wrong, of a size in pixels: of all that it does not overlook."""
        return True

    def _correct_labels(self, goal: float) -> Iterator[None]:
        for number in count():
            if self.score() >= goal:
                return
            places = find_wrong_places(self.draft.labels, self.believed, self._given_up)
            places = [place for place in places if self._notices(place.centre, place.n_px)]
            if not places:
                return
            near = [place for place in places[N_PLACES:] if self._sees(place.centre)][:N_PLACES]
            candidates = [
                Candidate(action, place.region, is_seen=self._sees(place.centre))
                for place in [*places[:N_PLACES], *near]
                for action in self._list_actions(place.region, place.value)
            ]
            if self.has_tools and number % WHOLE_LABEL_STEPS == 0 and self.work.draft.any():
                candidates += [Candidate(action) for action in list_whole_label_actions(self._canvas())]
            if (failed := self._take_best(candidates, places[0].region)) is not None:
                self._given_up |= failed
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
            if self.has_tools:
                yield from list_outlines(canvas, whole, region, value, self.hand)
            if np.array_equal(whole, region):
                return
        if self.has_tools:
            yield from list_outlines(canvas, region, region, value, self.hand)

    def _correct_objects(self, goal: float) -> Iterator[None]:
        if self.has_tools and self.score() < goal and not self._has_removed_specks:
            self._has_removed_specks = True
            yield from self._remove_specks()
        for _ in range(N_PASSES):
            yield from self._add_objects(goal)
            yield from self._delete_objects(goal)

    def _remove_specks(self) -> Iterator[None]:
        """Remove all small objects at once, if this is worth at least two objects."""
        before, worth = compute_score(self.draft.labels, self.believed, self.work.task), 2.0 / self._count_objects()
        for action in sorted(list_specks(self._canvas()), key=self._foresee, reverse=True)[:1]:
            if self._foresee(action) >= before + worth:
                self._do(Candidate(action))
                yield None

    def _count_objects(self) -> int:
        return max(1, len(np.unique(self.believed)) - 1)

    def _add_objects(self, goal: float) -> Iterator[None]:
        """Make each missing object, always the nearest one next."""
        centres = self._find_noticed(self.believed, np.unique(self.believed[self.believed > 0]).tolist())
        left = dict.fromkeys(centres, MAX_TRIES)
        while left and self.score() < goal:
            number = min(left, key=lambda n: self._measure_way(centres[n]))
            left[number] -= 1
            if left[number] < 0 or self._find_match(number):
                del left[number]
                continue
            actions = list_object_actions(self._canvas(), self.believed, number, self.hand, has_tools=self.has_tools)
            self._take_cheapest(list(actions), number)
            yield None

    def _delete_objects(self, goal: float) -> Iterator[None]:
        """Delete each false object, always the nearest one next."""
        centres = self._find_noticed(self.draft.labels, find_false_objects(self.draft.labels, self.believed))
        false = {n: self.draft.labels == n for n in centres}
        while false and self.score() < goal:
            number = min(false, key=lambda n: self._measure_way(centres[n]))
            region = false.pop(number)
            if not (self.draft.labels == number).any():  # erased with another one
                continue
            listed = list(list_deletions(self._canvas(), number, self.hand, has_tools=self.has_tools))
            if listed:
                best = max(listed, key=lambda action: (self._foresee(action), -self._price_hand(action)))
                self._do(Candidate(best, region))
                yield None

    def _find_noticed(self, labels: Labels, numbers: Sequence[int]) -> dict[int, NDArray[np.float64]]:
        """Return the centres of those objects that it notices."""
        regions = {number: labels == number for number in numbers}
        centres = {number: find_centre(region) for number, region in regions.items()}
        return {n: centre for n, centre in centres.items() if self._notices(centre, int(regions[n].sum()))}

    def _measure_way(self, centre: NDArray[np.float64]) -> float:
        return 0.0 if self._looked_at is None else float(np.linalg.norm(centre - self._looked_at))

    def _sees(self, centre: NDArray[np.float64] | None) -> bool:
        """Whether a place (y, x) is near the one that was looked at last; all of an image is not."""
        if centre is None or self._looked_at is None:
            return False
        return bool(np.linalg.norm(centre - self._looked_at) * self.hand.zoom <= self.work.sight_px)

    def _take_best(self, candidates: Sequence["Candidate"], first: Mask) -> Mask | None:
        """Do the action that mends most for its seconds.

        Return the region to give up: the first if no action mends more than it spoils, or that of the action if the
        hand missed so far that nothing was mended.
        """
        mending = [(n, one) for one in candidates if (n := self._count_mended(one.action.edit)) > 0]
        if not mending:
            return first
        best = max(mending, key=lambda pair: pair[0] ** self.boldness / self._price(pair[1]))[1]
        return None if self._do(best) > 0 else first if best.region is None else best.region

    def _take_cheapest(self, actions: list[Action], number: int) -> None:
        """Do the cheapest action after which the object is found; if there is none, the one that comes nearest."""
        rated = [(self._measure_match(action, number), action) for action in actions]
        if not rated:
            return
        found = [pair for pair in rated if pair[0] > MATCHED]
        chosen = (
            min(found, key=lambda pair: self._price_hand(pair[1])) if found else max(rated, key=lambda pair: pair[0])
        )
        self._do(Candidate(chosen[1], self.believed == number))

    def _do(self, one: "Candidate") -> int:
        """Do an action, with the hand as it is, and return how many pixels more were mended than spoilt."""
        centre = None if one.region is None else find_centre(one.region)
        action, looks = one.action, Effort(looks=int(not self._sees(centre)))
        if looks.looks:
            self._looked_at = centre
        edit = self._draw(action)
        n_mended = 0 if edit is None else self._count_mended(edit)
        if edit is not None:
            self.draft.record_edit(edit)
        self.diary.add(replace(action, effort=action.effort + looks))
        if action.brush is not None:
            self.hand.remember(*action.brush)
        self.hand.tool = action.tool or self.hand.tool
        return n_mended

    def _draw(self, action: Action) -> Edit | None:
        """Return what the hand really does; `None` if the tool refuses that: the seconds are lost."""
        if action.draw is None:
            return action.edit
        self.hand.plans = False
        try:
            return action.draw()
        except MedSegError:
            return None
        finally:
            self.hand.plans = True

    def _price(self, one: "Candidate") -> float:
        return self._price_hand(one.action) + (0.0 if one.is_seen else self.times.look_s)

    def _price_hand(self, action: Action) -> float:
        return action.effort.compute_seconds(self.times, self.hand.zoom)

    def _count_mended(self, edit: Edit) -> int:
        stroke = edit.stroke
        right = self.believed.reshape(-1)[stroke.indices]
        return int(np.count_nonzero(stroke.new == right)) - int(np.count_nonzero(stroke.old == right))

    def _find_match(self, number: int) -> bool:
        return compute_best_overlap(self.draft.labels, self.believed == number) > MATCHED

    def _measure_match(self, action: Action, number: int) -> float:
        return compute_best_overlap(self._apply(action), self.believed == number)

    def _foresee(self, action: Action) -> float:
        """Return the score after an action, against what the annotator believes."""
        return compute_score(self._apply(action), self.believed, self.work.task)

    def _apply(self, action: Action) -> Labels:
        labels = self.draft.labels.astype(np.uint32)
        action.edit.apply(labels)
        return labels

    def _canvas(self) -> Canvas:
        image = self.work.image
        return Canvas(
            self.draft.labels,
            self.work.task,
            image.spacing_mm,
            image=image.pixels if self.has_tools else None,
            probability=self.work.probability if self.has_tools else None,
        )
