"""A simulated annotator that does not know where the errors are: it has to look for them.

It looks at one part of the image after the other, and mends what is wrong there. With the brush it goes over the image
row by row. With all tools it first goes to the doubtful places of the program, as Tab does, and then over the rest. A
look costs its time also where nothing is wrong.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from annotator_hand import Effort
from annotator_person import Annotator, Work
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.doubtful_places import find_doubtful_places
from napari_medseg.inference.probabilities.stored_probabilities import read_uncertainty

Place = NDArray[np.float64]


class Searcher(Annotator):
    """Goes from look to look; what lies near the place of a look is noticed, and what is large is noticed anywhere.

    `is_guided`: whether it goes to the doubtful places first.
    """

    is_guided = False

    def _take_steps(self, goal: float) -> Iterator[None]:
        doubtful = find_doubtful_centres(self.work) if self.is_guided else []
        reach_px = self.work.sight_px / self.hand.zoom
        for number, stop in enumerate([*doubtful, *list_stops(self.believed.shape, reach_px, doubtful)]):
            if self.score() >= goal:
                return
            self._looked_at = stop
            self.diary.effort += Effort(looks=1, keys=int(number < len(doubtful)))
            yield from super()._take_steps(goal)

    def _notices(self, centre: Place, n_px: int) -> bool:
        assert self._looked_at is not None
        reach_px = self.work.sight_px / self.hand.zoom
        return bool(np.linalg.norm(centre - self._looked_at) <= reach_px) or n_px >= reach_px**2

    def _sees(self, centre: Place | None) -> bool:
        return True  # what it works on was noticed by the look that it has paid for


def find_doubtful_centres(work: Work) -> list[Place]:
    """Return the centres (y, x) of the doubtful places of a draft, in the order of the program."""
    if work.probability is None:
        return []
    canvas = Canvas(work.draft, work.task, work.image.spacing_mm, uncertainty=read_uncertainty(work.probability))
    return [np.array(place.centre, float) for place in find_doubtful_places(canvas)]


def list_stops(shape: tuple[int, ...], reach_px: float, seen: Sequence[Place]) -> Iterator[Place]:
    """Yield the middles (y, x) of squares that cover an image, row by row; not those near a place that was seen.

    The corners of a square are as far from its middle as the eye reaches. A square counts as seen if its middle is
    within half of that.
    """
    side = reach_px * np.sqrt(2.0)
    counts = [max(1, int(np.ceil(length / side))) for length in shape]
    for row in range(counts[0]):
        for column in range(counts[1]):
            middle = (np.array([row, column]) + 0.5) * np.array(shape) / counts - 0.5
            if all(np.linalg.norm(middle - one) > reach_px / 2 for one in seen):
                yield middle
