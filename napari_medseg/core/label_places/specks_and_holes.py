"""Specks and holes of one label: pieces that are much smaller than the rest, and background that the label encloses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.label_places.place import Place, find_bounding_box, make_place

SPECK_SHARE = 0.002
"""A piece below this share of its label is a speck, and so is a single voxel."""
MAX_PLACES = 200
"""More places than anyone visits are counted, but not listed."""


def find_specks(labels: NDArray[Any], value: int) -> tuple[list[Place], int, int]:
    """Find the specks of a label.

    Parameters
    ----------
    labels
        Integers (y, x) or (z, y, x).
    value
        Label value that occurs in them.

    Returns
    -------
    places, n_specks, smallest
        The places of the largest `MAX_PLACES` specks, their number, and the voxels of the smallest (0 without one).
    """
    inside, offset = _crop(labels, value)
    pieces, n_pieces = ndimage.label(inside)
    if n_pieces < 2:
        return [], 0, 0
    sizes = np.bincount(pieces.ravel())[1:]
    numbers = np.flatnonzero(sizes < max(2.0, SPECK_SHARE * float(sizes.sum()))) + 1
    numbers = numbers[np.argsort(-sizes[numbers - 1], kind="stable")]
    smallest = int(sizes[numbers - 1].min()) if numbers.size else 0
    return _make_places(labels, pieces, numbers[:MAX_PLACES], offset), int(numbers.size), smallest


def find_holes(labels: NDArray[Any], value: int) -> tuple[list[Place], int]:
    """Find what a label encloses: within the plane, or in 3D for a volume.

    Returns
    -------
    places, n_holes
        The places of the first `MAX_PLACES` holes, and their number. What lies in a hole may be another label.
    """
    inside, offset = _crop(labels, value)
    pieces, n_pieces = ndimage.label(np.pad(~inside, 1, constant_values=True))
    if n_pieces < 2:
        return [], 0
    pieces = pieces[(slice(1, -1),) * inside.ndim]
    numbers = np.arange(2, n_pieces + 1)  # the outside is met first, so it is 1
    return _make_places(labels, pieces, numbers[:MAX_PLACES], offset), n_pieces - 1


def _crop(labels: NDArray[Any], value: int) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    inside = labels == value
    box = find_bounding_box(inside)
    return inside[box], tuple(side.start for side in box)


def _make_places(
    labels: NDArray[Any], pieces: NDArray[Any], numbers: NDArray[np.int64], offset: tuple[int, ...]
) -> list[Place]:
    boxes = ndimage.find_objects(pieces) if numbers.size else []
    places = []
    for number in numbers.tolist():
        box = boxes[number - 1]
        here = tuple(slice(side.start + o, side.stop + o) for side, o in zip(box, offset, strict=True))
        places.append(make_place(labels, here, pieces[box] == number))
    return places
