"""Doubtful places: pieces and border stretches, ranked by the number of voxels that are expected to be wrong.

The uncertainty of a voxel is the probability that its label is wrong, so that its sum over a place is the expected
number of wrong voxels: uncertainty times size. Among numbered objects, such as nuclei, a place is a group of doubtful
objects beside each other: whether an object is wrong as a whole is told by its mean uncertainty, not by its blurred
border (`benchmarks/doubtful_objects.py` compares both). What a person has set or seen does not count.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_medseg.core.editing.canvas import Canvas, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box
from napari_medseg.core.editing.runs import Components, find_components
from napari_medseg.core.errors import MedSegError

MIN_UNCERTAINTY = 20
"""Voxels that are less uncertain are not doubtful, per cent."""
STRETCH_PX = 48
"""A doubtful band along a border is cut into stretches of this length, so that one fits on the screen."""
MAX_TABLE = 1 << 24
MIN_EXPECTED_WRONG = 2.0
"""Places with fewer expected wrong voxels are not worth a look."""
MIN_OBJECT_UNCERTAINTY = 0.1
"""Objects of a lower mean uncertainty are not doubtful: on validation images one in eighty of them was wrong."""
GROUP_DIAMETERS = 2.0
"""Objects that are this many median diameters or less from the middle one are seen together with it."""
RIM_PX = 2
"""Background so near to an object is its blurred border."""
MIN_MISSED_SHARE = 0.25
"""What the model may have missed is at least so large, relative to the median object."""


@dataclass(frozen=True, eq=False)
class DoubtfulPlace:
    """A piece or a stretch of a border of which the model is unsure.

    Parameters
    ----------
    centre
        Index of a doubtful voxel in the middle, on the slice with the largest expected error.
    box
        Smallest box that holds the place.
    mask
        Its doubtful voxels, bool, of the shape of the box.
    expected_wrong
        Expected number of wrong voxels.
    label
        The most frequent label of its voxels; 0 is the background.
    n_objects
        Number of its doubtful objects, and of what may be missed ones; 0 in a task without numbered objects.
    """

    centre: tuple[int, ...]
    box: Box
    mask: NDArray[np.bool_]
    expected_wrong: float
    label: int
    n_objects: int = 0


def find_doubtful_places(
    canvas: Canvas, seen: NDArray[np.bool_] | None = None, max_places: int = 20
) -> list[DoubtfulPlace]:
    """Return the doubtful places, the one with the largest expected error first.

    Parameters
    ----------
    canvas
        With the model's uncertainty; protected voxels are not doubtful.
    seen
        Bool, of the shape of the labels: what a person has looked at already. `None` for nothing.
    max_places
        Number of places at most.

    Raises
    ------
    MedSegError
        If there is no uncertainty.
    """
    if canvas.uncertainty is None:
        raise MedSegError("doubtful places need the model's uncertainty. Predict this image first.")
    known = np.zeros(canvas.shape, np.bool_)
    for one in (canvas.protected, seen):
        if one is not None:
            known |= one
    doubtful = (canvas.uncertainty >= MIN_UNCERTAINTY) & ~known
    if canvas.task.instances:
        return _find_doubtful_objects(canvas, doubtful, known, max_places)
    components = find_components(doubtful)
    if not components.n:
        return []
    indices = np.flatnonzero(doubtful)
    weights = canvas.uncertainty.reshape(-1)[indices] / 100.0
    stretch = _number_stretches(canvas, components, indices)
    expected = np.bincount(stretch, weights)
    best = np.argsort(-expected, kind="stable")[:max_places]
    best = best[expected[best] >= MIN_EXPECTED_WRONG]
    rank = np.full(expected.size, best.size)
    rank[best] = np.arange(best.size)
    members = _split_by_rank(rank[stretch], best.size)
    return [_make_place(canvas, indices[own], weights[own]) for own in members if own.size]


def confirm_place(canvas: Canvas, place: DoubtfulPlace) -> Edit:
    """Say that the labels of a place are right: an edit that changes no label, and makes its voxels a person's.

    Raises
    ------
    MedSegError
        If a person set all of them already.
    """
    size = format_size(canvas, int(np.count_nonzero(place.mask)), place.box)
    what = f"{canvas.name(place.label)} is" if place.n_objects < 2 else f"{place.n_objects} objects are"
    return canvas.make_confirmation(f"{what} right here: {size}", place.box, place.mask)


def _find_doubtful_objects(
    canvas: Canvas, doubtful: NDArray[np.bool_], known: NDArray[np.bool_], max_places: int
) -> list[DoubtfulPlace]:
    """Return groups of doubtful objects, the one with the largest sum of mean uncertainties first.

    An object of which a person knows half is not doubtful.
    """
    assert canvas.uncertainty is not None  # checked by the caller
    indices, unit, n_drawn = _list_objects(canvas, doubtful)
    if not indices.size:
        return []
    weights = canvas.uncertainty.reshape(-1)[indices] / 100.0
    sizes = np.bincount(unit)
    doubt = np.bincount(unit, weights) / sizes
    doubt[(doubt < MIN_OBJECT_UNCERTAINTY) | (np.bincount(unit, known.reshape(-1)[indices]) * 2 >= sizes)] = 0.0
    doubt[doubt * sizes < MIN_EXPECTED_WRONG] = 0.0  # a speck
    centres = _find_centres(canvas, indices, unit, n_drawn or len(sizes))
    group = _group_objects(centres, doubt, max_places)
    n_groups = int(group.max()) + 1
    group[group < 0] = n_groups
    counts = np.bincount(group, minlength=n_groups)
    members = _split_by_rank(group[unit], n_groups)
    return [
        replace(_make_place(canvas, indices[own], weights[own]), n_objects=int(counts[number]))
        for number, own in enumerate(members)
    ]


def _list_objects(canvas: Canvas, doubtful: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the voxels of objects, and of what may be missed ones: flat index, number from 0; and how many are drawn.

    A missed object is a doubtful piece of background that is no blurred border.
    """
    labels = canvas.labels.reshape(-1)
    indices = np.flatnonzero(labels)
    unit = _renumber(labels[indices].astype(np.int64))
    n_drawn = int(unit.max(initial=-1)) + 1
    rim = ndimage.binary_dilation(canvas.labels > 0, iterations=RIM_PX)
    pieces = find_components(doubtful & ~rim)
    if not pieces.n:
        return indices, unit, n_drawn
    least = MIN_MISSED_SHARE * float(np.median(np.bincount(unit) if n_drawn else pieces.sizes))
    is_large = pieces.sizes >= least
    number = np.repeat(pieces.number, pieces.stop - pieces.start)
    missed = np.flatnonzero(pieces.paint(np.ones(pieces.n, np.bool_)))
    kept = is_large[number]
    number = np.cumsum(is_large)[number[kept]] - 1 + n_drawn
    return np.concatenate([indices, missed[kept]]), np.concatenate([unit, number]), n_drawn


def _find_centres(
    canvas: Canvas, indices: NDArray[np.int64], unit: NDArray[np.int64], n_drawn: int
) -> NDArray[np.float64]:
    """Return the centre of each object, float64 (n, axes), so that 1 is as far as a group reaches.

    In a series or a video that is at most one slice: a group is looked at on one.
    """
    sizes = np.bincount(unit)
    *planes, y, x = np.unravel_index(indices, canvas.shape)
    n_planes = 1.0
    if planes:
        on_plane = _renumber(unit * canvas.shape[0] + planes[0])
        n_planes = (int(on_plane.max()) + 1) / len(sizes)
    row_mm, column_mm = canvas.spacing[-2:]
    area = float(np.median(sizes[:n_drawn])) / n_planes * row_mm * column_mm
    reach = GROUP_DIAMETERS * 2 * np.sqrt(area / np.pi)
    scaled = [*planes, y * (row_mm / reach), x * (column_mm / reach)]
    return np.stack([np.bincount(unit, at) / sizes for at in scaled], axis=1)


def _group_objects(centres: NDArray[np.float64], doubt: NDArray[np.float64], max_groups: int) -> NDArray[np.int64]:
    """Return the group of each object, -1 for none; group 0 lies around the object with the most doubt near it."""
    group = np.full(len(doubt), -1)
    left = np.flatnonzero(doubt)
    around = cKDTree(centres[left]).query_ball_point(centres[left], 1.0) if left.size else []
    open_doubt = doubt[left].copy()
    sums = np.array([open_doubt[near].sum() for near in around])
    for number in range(max_groups):
        if not sums.size or sums.max() <= MIN_OBJECT_UNCERTAINTY / 2:
            break
        mine = [one for one in around[int(sums.argmax())] if open_doubt[one]]
        group[left[mine]] = number
        for one in mine:
            sums[around[one]] -= open_doubt[one]
            open_doubt[one] = 0.0
    return group


def _split_by_rank(rank: NDArray[np.int64], n: int) -> list[NDArray[np.int64]]:
    """Return the places of each rank below `n`; the others, which are most of them, need no sorting."""
    chosen = np.flatnonzero(rank < n)
    order = chosen[np.argsort(rank[chosen], kind="stable")]
    return np.split(order, np.cumsum(np.bincount(rank[chosen], minlength=n))[:-1]) if n else []


def _renumber(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers from 0 without gaps, in the order of the keys."""
    if key.max(initial=0) >= MAX_TABLE:
        return np.asarray(np.unique(key, return_inverse=True)[1], np.int64)
    number = np.cumsum(np.bincount(key) > 0) - 1  # many times as fast as sorting millions of voxels
    return np.asarray(number[key], np.int64)


def _number_stretches(canvas: Canvas, components: Components, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stretch of each doubtful voxel, from 0: components, cut into boxes from their first corner on."""
    component, lengths = components.number, components.stop - components.start
    finest, key = min(canvas.spacing), component
    for axis, place in enumerate(np.unravel_index(components.start, canvas.shape)):
        first = np.full(components.n, canvas.shape[axis])
        np.minimum.at(first, component, place)
        length = max(1, round(STRETCH_PX * finest / canvas.spacing[axis]))
        key = key * -(-canvas.shape[axis] // length)
        from_first = place - first[component]
        if axis == len(canvas.shape) - 1:  # along which a run extends, so that its voxels can be of several stretches
            key = np.repeat(key, lengths)
            from_first = indices + np.repeat(from_first - components.start, lengths)
        key = key + from_first // length
    return _renumber(key)


def _make_place(canvas: Canvas, indices: NDArray[np.int64], weights: NDArray[np.float64]) -> DoubtfulPlace:
    places = np.stack(np.unravel_index(indices, canvas.shape))
    low, high = places.min(axis=1), places.max(axis=1) + 1
    mask = np.zeros(high - low, np.bool_)
    mask[tuple(places - low[:, np.newaxis])] = True
    if canvas.labels.ndim == 3:
        on_plane = places[0] == np.bincount(places[0], weights).argmax()
        places, weights_there = places[:, on_plane], weights[on_plane]
    else:
        weights_there = weights
    middle = np.average(places, axis=1, weights=weights_there)
    nearest = int(((places - middle[:, np.newaxis]) ** 2).sum(axis=0).argmin())
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    values, counts = np.unique(canvas.labels.reshape(-1)[indices], return_counts=True)
    centre = tuple(int(place) for place in places[:, nearest])
    return DoubtfulPlace(centre, box, mask, float(weights.sum()), int(values[counts.argmax()]))
