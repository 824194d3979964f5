"""Nuclei on the borders of chunks: which objects of a chunk are new, and which are there already.

Chunks are predicted one after the other, and what they are shown overlaps. An object is written whole by the first
chunk whose core it reaches into. A later chunk finds it in the labels that are there: an object of which at least half
is covered is the same nucleus and is left as it is. An object that was cut, because it is larger than the surroundings
of a chunk, is joined with what the next chunk sees of it. So each nucleus is there once, whole, under one number.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.workflow.whole_slide.chunks import Box

SAME_SHARE = 0.5
"""An object is the same as another one, or a part of it, if they share so much of it."""

Objects = NDArray[np.uint32]


class ObjectRecord(NamedTuple):
    """One object on a slide, in pixels of the grid: its number, size, centre, box (ends excluded), and origin.

    `is_cut` is 1 if it reaches the end of what its chunk was shown; `is_corrected` is 1 if a person drew it.
    """

    id: int
    area_px: int
    y: float
    x: float
    top: int
    left: int
    bottom: int
    right: int
    is_cut: int = 0
    is_corrected: int = 0


@dataclass(frozen=True, eq=False)
class PlacedObjects:
    """What a chunk adds: uint32 (h, w) with the new numbers only, their records, and pairs of numbers of one object.

    In a pair the first number becomes the second one.
    """

    labels: Objects
    records: list[ObjectRecord]
    pairs: list[tuple[int, int]]


class _Decision(NamedTuple):
    """Whether an object is written, which objects become it, and which one it becomes (0: none)."""

    is_new: bool
    parts: tuple[int, ...] = ()
    whole: int = 0


def place_objects(
    found: NDArray[Any],
    existing: Objects,
    core: Box,
    first_id: int,
    place: Box,
    shape: tuple[int, int],
    cut: Collection[int] = (),
) -> PlacedObjects:
    """Decide which objects of a chunk are new.

    Parameters
    ----------
    found
        (h, w): objects that the model found in what it was shown of the chunk, numbered from 1.
    existing
        uint32 (h, w): what earlier chunks wrote there.
    core
        The part that the chunk decides, in pixels of these arrays.
    first_id
        Number of the first new object.
    place
        Where the arrays lie on the grid.
    shape
        Height and width of the grid: an object that touches its border is not cut.
    cut
        Which of the existing objects were cut.
    """
    decisions = _decide(found, existing, core, cut)
    written = [number for number, decision in decisions.items() if decision.is_new]
    ids = dict(zip(written, range(first_id, first_id + len(written)), strict=True))
    table = np.zeros(int(found.max(initial=0)) + 1, np.uint32)
    table[written] = list(ids.values())
    labels: Objects = table[found]
    labels[existing > 0] = 0
    reaches_end = _find_cut(found, place, shape)
    is_cut = {ids[number] for number in written if number in reaches_end}
    pairs = []
    for number, (is_new, parts, whole) in decisions.items():
        pairs += [(part, ids[number] if is_new and not whole else whole) for part in parts]
        pairs += [(ids[number], whole)] if is_new and whole else []
    return PlacedObjects(labels, measure_objects(labels, first_id, len(written), place, is_cut), pairs)


def measure_objects(
    labels: Objects, first_id: int, n_objects: int, place: Box, cut: Collection[int] = (), *, is_corrected: bool = False
) -> list[ObjectRecord]:
    """Return the records of objects that are numbered from `first_id` on, in an array that lies at `place`."""
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns].astype(np.int64) - (first_id - 1)
    areas, ys, xs = (np.bincount(numbers, weights, minlength=n_objects + 1) for weights in (None, rows, columns))
    local = np.zeros(labels.shape, np.int32)
    local[rows, columns] = numbers
    records = []
    for number, box in enumerate(ndimage.find_objects(local, max_label=n_objects), start=1):
        if box is None:
            continue
        area, identity = int(areas[number]), first_id + number - 1
        centre = (float(ys[number] / area) + place[0].start, float(xs[number] / area) + place[1].start)
        (top, bottom), (left, right) = (
            (side.start + along.start, side.stop + along.start) for side, along in zip(box, place, strict=True)
        )
        flags = (int(identity in cut), int(is_corrected))
        records.append(ObjectRecord(identity, area, *centre, top, left, bottom, right, *flags))
    return records


def _decide(found: NDArray[Any], existing: Objects, core: Box, cut: Collection[int]) -> dict[int, _Decision]:
    """Return what becomes of each object that reaches into the core."""
    # counting is ten times as fast as np.unique, which sorts millions of pixels
    reached = np.flatnonzero(np.bincount(found[core].ravel()))
    decisions = {number: _Decision(is_new=True) for number in reached.tolist() if number}
    overlap = (existing > 0) & (found > 0)
    if not overlap.any():
        return decisions
    areas = np.bincount(found.ravel())
    ids, counts = np.unique(existing[existing > 0], return_counts=True)
    sizes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    pairs, shared = np.unique(
        np.stack([found[overlap], existing[overlap]]).astype(np.int64), axis=1, return_counts=True
    )
    partners: dict[int, list[tuple[int, int]]] = {}
    for (number, identity), n_shared in zip(pairs.T.tolist(), shared.tolist(), strict=True):
        partners.setdefault(number, []).append((n_shared, identity))
    for number in partners.keys() & decisions.keys():
        covered = sum(n_shared for n_shared, _ in partners[number])
        parts = [one for n_shared, one in sorted(partners[number], reverse=True) if n_shared >= SAME_SHARE * sizes[one]]
        decisions[number] = _decide_covered(int(areas[number]), covered, parts, cut)
    return decisions


def _decide_covered(area: int, covered: int, parts: list[int], cut: Collection[int]) -> _Decision:
    """Return what becomes of an object that shares pixels with existing ones; `parts` lie mostly in it."""
    if covered < SAME_SHARE * area:
        return _Decision(is_new=True, parts=tuple(parts))
    unfinished = [one for one in parts if one in cut]
    if not unfinished:
        return _Decision(is_new=False)
    return _Decision(is_new=covered < area, parts=tuple(unfinished[1:]), whole=unfinished[0])


def _find_cut(found: NDArray[Any], place: Box, shape: tuple[int, int]) -> set[int]:
    """Return the objects that reach the end of what the model was shown, where the slide goes on."""
    ends = [
        (found[0], place[0].start > 0),
        (found[-1], place[0].stop < shape[0]),
        (found[:, 0], place[1].start > 0),
        (found[:, -1], place[1].stop < shape[1]),
    ]
    return {int(number) for line, goes_on in ends if goes_on for number in np.unique(line)} - {0}
