"""Doubtful places: pieces and border stretches, ranked by the number of voxels that are expected to be wrong.

The uncertainty of a voxel is the probability that its label is wrong, so that its sum over a place is the expected
number of wrong voxels: uncertainty times size. What a person has set or seen does not count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """

    centre: tuple[int, ...]
    box: Box
    mask: NDArray[np.bool_]
    expected_wrong: float
    label: int


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
    doubtful = canvas.uncertainty >= MIN_UNCERTAINTY
    for known in (canvas.protected, seen):
        if known is not None:
            doubtful &= ~known
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
    chosen = np.flatnonzero(rank[stretch] < best.size)  # the others, which are most of them, need no sorting
    order = chosen[np.argsort(rank[stretch[chosen]], kind="stable")]
    members = np.split(order, np.cumsum(np.bincount(rank[stretch[chosen]], minlength=best.size))[:-1])
    return [_make_place(canvas, indices[own], weights[own]) for own in members if own.size]


def confirm_place(canvas: Canvas, place: DoubtfulPlace) -> Edit:
    """Say that the labels of a place are right: an edit that changes no label, and makes its voxels a person's.

    Raises
    ------
    MedSegError
        If a person set all of them already.
    """
    size = format_size(canvas, int(np.count_nonzero(place.mask)), place.box)
    return canvas.make_confirmation(f"{canvas.name(place.label)} is right here: {size}", place.box, place.mask)


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
    if key.max() >= MAX_TABLE:
        return np.asarray(np.unique(key, return_inverse=True)[1], np.int64)
    number = np.cumsum(np.bincount(key) > 0) - 1  # many times as fast as sorting millions of voxels
    return np.asarray(number[key], np.int64)


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
