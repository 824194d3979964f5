"""Which doubtful places of a draft a person saw: a small file beside the journal, so that a restart forgets nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_medseg.core.atomic_io import atomic_write_text, set_aside
from napari_medseg.core.editing.doubtful_places import DoubtfulPlace
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.project.strokes import Spans
from napari_medseg.core.project.undo_journal import get_journal_path
from napari_medseg.core.records import Review

logger = logging.getLogger(__name__)


class SeenPlaces(BaseModel):
    """How many doubtful places the labels of a model have, and which were seen.

    `seen` holds the flat C-order index of the centre of each place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""
    n_places: int = Field(0, ge=0)
    seen: tuple[int, ...] = ()


def get_seen_places_path(folder: Path, review: Review) -> Path:
    """Return the path of the seen places of a review; the file may not exist. `folder` is that of the project."""
    return get_journal_path(folder, review.id).with_suffix(".places.json")


def read_seen_places(path: Path) -> SeenPlaces | None:
    """Read the seen places of a draft; `None` if there are none. A damaged file is set aside and reported."""
    if not path.exists():
        return None
    try:
        return read_json_model(path, SeenPlaces, "is no list of seen places", "The places count as unseen again.")
    except MedSegError as error:
        report_damage(f"{error} It is kept as {set_aside(path).name}.")
        return None


@dataclass
class PlacesReview:
    """The doubtful places of a draft in the order of their expected error, and which of them were seen.

    A place is seen if the person went there, or set half of its voxels. It stays on the list, so that the numbers do
    not jump.

    Parameters
    ----------
    path
        File of the seen places.
    model
        Version that made the labels; places of another one are forgotten.
    places
        As of `find_doubtful_places`, without regard to what the person set: the same again after a restart.
    shape
        Shape of the labels.
    """

    path: Path
    model: str
    places: Sequence[DoubtfulPlace]
    shape: tuple[int, ...]
    current: int | None = None
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        known = read_seen_places(self.path)
        if known is not None and known.model == self.model:
            self._seen = set(known.seen) & {self._find_key(place) for place in self.places}
        if known is None or known.model != self.model or known.n_places != len(self.places):
            self._write()

    @property
    def n_seen(self) -> int:
        """Number of places that were seen."""
        return len(self._seen)

    @property
    def summary(self) -> str:
        """Text for the window, such as ``3 of 5 seen``."""
        return f"{self.n_seen} of {len(self.places)} seen" if self.places else "none"

    def go(self, step: int) -> DoubtfulPlace | None:
        """Go to a place and count it as seen; `None` if there are none.

        Parameters
        ----------
        step
            +1: the unseen place with the largest expected error; if all were seen, the next one in order. -1: the one
            before in order.
        """
        n = len(self.places)
        if not n:
            return None
        at = (-1 if step > 0 else 0) if self.current is None else self.current
        unseen = [number for number, place in enumerate(self.places) if self._find_key(place) not in self._seen]
        self.current = unseen[0] if step > 0 and unseen else (at + step) % n
        self._mark([self.places[self.current]])
        return self.places[self.current]

    def mark_edited(self, edited: Spans) -> None:
        """Count places as seen of which the person set half; `edited` are the edited voxels of a draft."""
        self._mark(
            [place for place in self.places if self._find_key(place) not in self._seen and self._is_set(place, edited)]
        )

    def _is_set(self, place: DoubtfulPlace, edited: Spans) -> bool:
        inside = np.nonzero(place.mask)
        where = tuple(axis + side.start for axis, side in zip(inside, place.box, strict=True))
        voxels = np.ravel_multi_index(where, self.shape)
        return bool(2 * np.count_nonzero(edited.contain(voxels)) >= voxels.size)

    def _mark(self, places: Sequence[DoubtfulPlace]) -> None:
        new = {self._find_key(place) for place in places} - self._seen
        if new:
            self._seen |= new
            self._write()

    def _find_key(self, place: DoubtfulPlace) -> int:
        return int(np.ravel_multi_index(place.centre, self.shape))

    def _write(self) -> None:
        written = SeenPlaces(model=self.model, n_places=len(self.places), seen=tuple(sorted(self._seen)))
        try:
            atomic_write_text(self.path, written.model_dump_json() + "\n")
        except MedSegError as error:  # a count is not worth an error: what is seen is seen
            logger.warning("%s", error)
