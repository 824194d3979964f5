"""Find images of one set that another set contains, too: equal, as a changed copy, or as the slice beside it.

A training image that shows the same as a hold-out image makes every score too good, whatever its name. Corners of two
images are matched by what surrounds them; the largest set of matches that one shift, turn and scale explains aligns the
images, and the correlation of their fine structure decides. `benchmarks/duplicates.py` measures the error rates, which
`docs/retraining.md` lists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.quality.image_fingerprint import (
    GRID_CELLS,
    MAX_POINTS,
    MIN_MATCHES,
    N_DIRECTIONS,
    N_FEATURES,
    SIDE_PX,
    Fingerprint,
    align_points,
    may_align,
)

MIN_SAME_PLACE_SIMILARITY = 0.50
"""Images of different patients stay below 0.45. Copies, and slices of one patient up to 5 mm apart, are above."""
MIN_COPY_LIKENESS = 0.76
"""Mean of the similarity and of the lowest tenth of blocks, some of which differ in a neighbouring slice."""

MAX_PLANE_PAIRS = 16
"""Of two volumes only the plane pairs that are most alike at a glance are compared."""
_PLANES_AT_ONCE = 64
"""Their cosines, 1 MB, stay in the cache of the processor, and the memory is bounded."""
_MIN_COSINE = 0.85
_MIN_OVERLAP = 0.3
_BLOCK_PX = 16
_MIN_BLOCK_SHARE = 0.6
_MIN_BLOCK_STD = 8.0
_LOW_PERCENTILE = 10.0


class Likeness(StrEnum):
    """How two images are alike."""

    IDENTICAL = "identical"
    COPY = "copy"
    SAME_PLACE = "same place"


@dataclass(frozen=True)
class SharedContent:
    """Image number `one` of the first set shows what image number `other` of the second set shows."""

    one: int
    other: int
    likeness: Likeness
    similarity: float

    @property
    def is_copy(self) -> bool:
        """Whether it is the same image, equal or changed; a neighbouring slice is not."""
        return self.likeness is not Likeness.SAME_PLACE


def find_shared_content(ones: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> list[SharedContent]:
    """Compare each image of one set with each of another set; return the pairs that are alike, in order.

    The time is about 0.2 ms for a pair of single pictures.
    """
    if not ones or not others:
        return []
    book = FingerprintBook(others)
    return [found for index, one in enumerate(ones) for found in book.find_shared(one, index)]


class FingerprintBook:
    """Images of one set, for the comparison with images of another set one after the other.

    Parameters
    ----------
    prints
        At least one. They are kept in memory, about 50 KB for each compared plane.
    """

    def __init__(self, prints: Sequence[Fingerprint]) -> None:
        self._planes = _PlaneBook(prints)

    def find_shared(self, one: Fingerprint, index: int = 0) -> list[SharedContent]:
        """Return the images of the book that show what `one` shows, in order; it gets the number `index`."""
        found = []
        for other, measured in sorted(self._planes.find_similar(one).items()):
            likeness = Likeness.IDENTICAL if measured.is_equal else measured.likeness
            found.append(SharedContent(index, other, likeness, measured.similarity))
        return found


def compute_similarity(one: Fingerprint, other: Fingerprint) -> float:
    """Return the similarity, at most 1, of the two most similar planes of two images; 0 if nothing is alike."""
    return _PlaneBook([other]).find_similar(one, at_least=0.0).get(0, _NOTHING).similarity


def _are_equal(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether two images are equal, or one is a plane of the other; blank frames tell nothing."""
    if not one.planes.any():
        return False
    if one.digest == other.digest:
        return True
    few, many = sorted((one.plane_digests, other.plane_digests), key=len)
    return not set(few).isdisjoint(many) and len(few) == 1


@dataclass(frozen=True)
class _Similarity:
    """Correlation of two planes, that of their less similar blocks, and whether the images are equal."""

    similarity: float
    of_blocks: float
    is_equal: bool = False

    @property
    def likeness(self) -> Likeness:
        is_copy = (self.similarity + self.of_blocks) / 2 >= MIN_COPY_LIKENESS
        return Likeness.COPY if is_copy else Likeness.SAME_PLACE


_NOTHING = _Similarity(0.0, 0.0)
_EQUAL = _Similarity(1.0, 1.0, is_equal=True)


@dataclass(frozen=True)
class _Turn:
    """A mirror image or half turn of a plane."""

    rows: bool
    columns: bool

    def turn_planes(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        return planes[..., :: -1 if self.rows else 1, :: -1 if self.columns else 1]

    def turn_points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        end = SIDE_PX - 1
        flipped = points.copy()
        if self.rows:
            flipped[..., 0] = end - flipped[..., 0]
        if self.columns:
            flipped[..., 1] = end - flipped[..., 1]
        return flipped

    def turn_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        number = np.arange(N_DIRECTIONS)
        grid = features.reshape(*features.shape[:-1], GRID_CELLS, GRID_CELLS, N_DIRECTIONS)
        if self.rows:
            grid = grid[..., ::-1, :, :][..., -number % N_DIRECTIONS]
        if self.columns:
            grid = grid[..., :, ::-1, :][..., (N_DIRECTIONS // 2 - number) % N_DIRECTIONS]
        return grid.reshape(features.shape)


_TURNS = tuple(_Turn(rows, columns) for rows in (False, True) for columns in (False, True))


class _PlaneBook:
    """The planes of many images in a few arrays, for comparison with one image at a time."""

    def __init__(self, prints: Sequence[Fingerprint]) -> None:
        self._prints = prints
        sizes = np.array([len(each.planes) for each in prints])
        self._owner = np.repeat(np.arange(len(prints)), sizes)
        self._ends = np.cumsum(sizes)
        self._points = np.concatenate([each.points for each in prints]).astype(np.float32)
        self._features = _to_unit(np.concatenate([each.features for each in prints]))
        self._overviews = _to_unit(np.concatenate([each.overviews for each in prints]))
        self._planes = np.concatenate([each.planes for each in prints])

    def find_similar(self, one: Fingerprint, at_least: float = MIN_SAME_PLACE_SIMILARITY) -> dict[int, _Similarity]:
        """Return the similarity of the images that are at least so similar to an image."""
        best = {other: _EQUAL for other, each in enumerate(self._prints) if _are_equal(one, each)}
        points, features = one.points.astype(np.float32), _to_unit(one.features)
        overviews, planes = _to_unit(one.overviews), one.planes.astype(np.float32)
        for turn in _TURNS:
            turned_planes, turned_points = turn.turn_planes(planes), turn.turn_points(points)
            turned_features = turn.turn_features(features)
            chosen = self._choose_planes(turn.turn_features(overviews))
            for plane in range(len(planes)):
                at = np.flatnonzero(chosen[plane])
                at = at[[best.get(int(owner)) is not _EQUAL for owner in self._owner[at]]]
                for index, measured in self._compare_plane(
                    turned_planes[plane], turned_points[plane], turned_features[plane], at
                ):
                    owner = int(self._owner[index])
                    if measured.similarity >= max(at_least, best.get(owner, _NOTHING).similarity):
                        best[owner] = measured
        return best

    def _choose_planes(self, overviews: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which planes to compare with which, (plane, plane of the book): those most alike at a glance."""
        alike = overviews @ self._overviews.T
        chosen = np.ones(alike.shape, bool)
        sizes = np.diff(self._ends, prepend=0)
        for owner in np.flatnonzero(sizes * len(overviews) > MAX_PLANE_PAIRS):
            columns = slice(self._ends[owner] - sizes[owner], self._ends[owner])
            part = alike[:, columns]
            chosen[:, columns] = part >= np.sort(part, axis=None)[-MAX_PLANE_PAIRS]
        return chosen

    def _compare_plane(
        self,
        plane: NDArray[np.float32],
        points: NDArray[np.float32],
        features: NDArray[np.float32],
        at: NDArray[np.intp],
    ) -> Iterator[tuple[int, _Similarity]]:
        """Yield the similarity of a plane with those planes of the book that many of its corners match."""
        for begin in range(0, len(at), _PLANES_AT_ONCE):
            yield from self._compare_with_some(plane, points, features, at[begin : begin + _PLANES_AT_ONCE])

    def _compare_with_some(
        self,
        plane: NDArray[np.float32],
        points: NDArray[np.float32],
        features: NDArray[np.float32],
        at: NDArray[np.intp],
    ) -> Iterator[tuple[int, _Similarity]]:
        cosines = (features @ self._features[at].reshape(-1, N_FEATURES).T).reshape(len(features), len(at), MAX_POINTS)
        # Most planes have too few corners that match any corner, mutual or not: then the rest is not asked.
        may_match = np.flatnonzero((cosines.max(axis=2) > _MIN_COSINE).sum(axis=0) >= MIN_MATCHES)
        if not len(may_match):
            return
        at, cosines = at[may_match], cosines[:, may_match]
        there, here = cosines.argmax(axis=2), cosines.argmax(axis=0)
        own = np.arange(len(features))[:, np.newaxis]
        is_mutual = here[np.arange(len(at)), there] == own
        is_match = is_mutual & (np.take_along_axis(cosines, there[..., np.newaxis], axis=2)[..., 0] > _MIN_COSINE)
        enough = np.flatnonzero(is_match.sum(axis=0) >= MIN_MATCHES)
        at, there, is_match = at[enough], there[:, enough], is_match[:, enough]
        partners = self._points[at[:, np.newaxis], there.T]
        for column in np.flatnonzero(may_align(points, partners, is_match.T)) if len(at) else ():
            matched = is_match[:, column]
            ours, theirs = points[matched], self._points[at[column]][there[matched, column]]
            alignment = align_points(ours, theirs)
            if alignment is not None:
                yield int(at[column]), _correlate(plane, self._planes[at[column]], alignment)


def _to_unit(features: NDArray[np.int8]) -> NDArray[np.float32]:
    numbers = features.astype(np.float32)
    length = np.linalg.norm(numbers, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(numbers, length, out=np.zeros_like(numbers), where=length > 0)
    return unit


_PIXELS = np.column_stack([*(grid.ravel() for grid in np.mgrid[:SIDE_PX, :SIDE_PX]), np.ones(SIDE_PX * SIDE_PX)])


def _correlate(plane: NDArray[np.float32], other: NDArray[np.int8], alignment: NDArray[np.float64]) -> _Similarity:
    """Correlate two planes after alignment, where they overlap: as a whole, and block by block."""
    places = (_PIXELS @ alignment).T
    inside: NDArray[np.bool_] = np.logical_and(places >= 0, places <= SIDE_PX - 1).min(axis=0)
    if inside.mean() < _MIN_OVERLAP:
        return _NOTHING
    here, there = plane.ravel(), np.zeros(SIDE_PX * SIDE_PX, np.float32)
    there[inside] = ndimage.map_coordinates(other.astype(np.float32), places[:, inside], order=1)
    whole = _correlate_rows(here[np.newaxis], there[np.newaxis], inside[np.newaxis])[0]
    if whole < MIN_SAME_PLACE_SIMILARITY:
        return _Similarity(float(whole), 0.0)
    ours, theirs, counted = (_cut_into_blocks(part) for part in (here, there, inside))
    has_structure = np.maximum(ours.std(axis=1), theirs.std(axis=1)) > _MIN_BLOCK_STD
    used = (counted.mean(axis=1) > _MIN_BLOCK_SHARE) & has_structure
    if not used.any():
        return _Similarity(float(whole), float(whole))
    of_blocks = np.percentile(_correlate_rows(ours[used], theirs[used], counted[used]), _LOW_PERCENTILE)
    return _Similarity(float(whole), float(of_blocks))


def _cut_into_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Return the blocks of a plane, (block, pixel)."""
    n_blocks = SIDE_PX // _BLOCK_PX
    blocks = values.reshape(n_blocks, _BLOCK_PX, n_blocks, _BLOCK_PX).swapaxes(1, 2)
    return blocks.reshape(n_blocks * n_blocks, _BLOCK_PX * _BLOCK_PX)


def _correlate_rows(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the correlation of each row over the counted pixels; 0 if one of both is constant."""
    n_counted = counted.sum(axis=1, keepdims=True)
    centred = [
        np.where(counted, values - np.where(counted, values, 0).sum(axis=1, keepdims=True) / n_counted, 0)
        for values in (ours.astype(np.float64), theirs.astype(np.float64))
    ]
    product = (centred[0] * centred[1]).sum(axis=1)
    length = np.linalg.norm(centred[0], axis=1) * np.linalg.norm(centred[1], axis=1)
    correlation: NDArray[np.float64] = np.divide(product, length, out=np.zeros_like(product), where=length > 0)
    return correlation
