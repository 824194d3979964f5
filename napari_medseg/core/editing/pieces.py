"""The piece under the cursor: connected voxels of one label, on one slice or in the whole volume.

A piece is looked for in a box around the cursor that grows only where the piece reaches its side. Voxels are connected
by faces, edges and corners, as in the checks of labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.editing.geometry import Box, find_tight_box, get_box_shape, move_box, pad_box
from napari_medseg.core.editing.runs import connect_runs, find_runs_by_slabs
from napari_medseg.core.errors import MedSegError

START_MARGINS = {2: (24, 24), 3: (12, 48, 48)}
"""Half the size of the first box, voxels; a nucleus or a lesion usually fits."""
SMALL_BOX_VOXELS = 1 << 15
"""In a small box a voxel-wise labelling is faster than runs."""
Membership = Callable[[Box], NDArray[np.bool_]]
"""Which voxels of a box belong to the region that is looked for."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Connected voxels of one label.

    Parameters
    ----------
    value
        Their label value.
    box
        Smallest box that holds them, one slice per axis of the labels.
    mask
        Bool, of the shape of the box.
    is_planar
        Whether it is the piece on one slice of a volume; also true in a 2-D image.
    """

    value: int
    box: Box
    mask: NDArray[np.bool_]
    is_planar: bool

    @cached_property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.mask))

    @property
    def plane(self) -> int | None:
        """The slice of a planar piece of a volume; `None` for another piece."""
        return self.box[0].start if self.is_planar and len(self.box) == 3 else None

    def pad(self, margins: Sequence[int], shape: Sequence[int]) -> tuple[Box, NDArray[np.bool_]]:
        """Return a box that is larger by the margins, within the image, and the piece in it; a planar one stays so."""
        if self.is_planar and len(self.box) == 3:
            margins = (0, *margins[1:])
        box = pad_box(self.box, margins, shape)
        mask = np.zeros(get_box_shape(box), np.bool_)
        mask[move_box(self.box, box)] = self.mask
        return box, mask

    def contains(self, index: Sequence[int]) -> bool:
        """Whether a voxel belongs to the piece."""
        local = [place - side.start for place, side in zip(index, self.box, strict=True)]
        inside = all(0 <= place < length for place, length in zip(local, self.mask.shape, strict=True))
        return inside and bool(self.mask[tuple(local)])


def find_border(
    labels: NDArray[Any], place: Sequence[float] | NDArray[np.float64], pick_px: float, value: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pixels (n, 2) at borders, of a label or of any, near a place in a plane, and how far they are, px.

    The nearest is the first.
    """
    y, x = (int(np.floor(axis + 0.5)) for axis in place)
    sides = (slice(max(0, y), max(0, y + 1)), slice(max(0, x), max(0, x + 1)))
    margin = int(pick_px) + 1
    window = pad_box(sides, (margin, margin), labels.shape)
    part = labels[window]
    if not part.size:
        return np.empty((0, 2), np.int64), np.empty(0)
    lowest, highest = (find(part, size=3, mode="nearest") for find in (ndimage.minimum_filter, ndimage.maximum_filter))
    is_own = part > 0 if value is None else part == value
    places = np.argwhere((lowest != highest) & is_own) + [side.start for side in window]
    distance = np.hypot(*(places - np.asarray(place)).T)
    order = np.argsort(distance, kind="stable")[: np.count_nonzero(distance <= pick_px)]
    return places[order], distance[order]


def find_piece(labels: NDArray[Any], seed: Sequence[int]) -> Piece:
    """Find the piece under the cursor in the whole volume, or in a 2-D image.

    Parameters
    ----------
    labels
        Integer (y, x) or (z, y, x).
    seed
        Index of a voxel of the piece.

    Raises
    ------
    MedSegError
        If the seed is outside the image or on the background.
    """
    return _find_piece(labels, seed, is_planar=labels.ndim == 2)


def find_piece_in_plane(labels: NDArray[Any], seed: Sequence[int]) -> Piece:
    """Like `find_piece`, but only on the slice of the seed: the piece is what is connected on that slice."""
    return _find_piece(labels, seed, is_planar=True)


def flood(
    shape: Sequence[int], seed: Sequence[int], is_member: Membership, *, is_planar: bool
) -> tuple[Box, NDArray[np.bool_]]:
    """Find what is connected to a seed, reading only boxes around it.

    Parameters
    ----------
    shape
        Shape of the image, (y, x) or (z, y, x).
    seed
        Index of a voxel that is a member.
    is_member
        Called with growing boxes.
    is_planar
        Whether to stay on the slice of the seed.

    Returns
    -------
    Box, NDArray
        The smallest box of the region, and the region in it, bool.
    """
    margins = [0 if is_planar and len(shape) - axis > 2 else n for axis, n in enumerate(START_MARGINS[len(shape)])]
    box = pad_box(tuple(slice(place, place + 1) for place in seed), margins, shape)
    while True:
        local, mask = _find_connected(box, seed, is_member)
        larger = tuple(
            _grow_side(side, inner, length, grows=margin > 0)
            for side, inner, length, margin in zip(box, local, shape, margins, strict=True)
        )
        if larger == box:
            tight = tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(local, box, strict=True))
            return tight, mask
        box = larger


def _find_connected(box: Box, seed: Sequence[int], is_member: Membership) -> tuple[Box, NDArray[np.bool_]]:
    """Return the box of the component with the seed, relative to a box, and its voxels in it."""
    shape, place = get_box_shape(box), tuple(p - side.start for p, side in zip(seed, box, strict=True))
    if math.prod(shape) <= SMALL_BOX_VOXELS:
        numbers, _ = ndimage.label(is_member(box), np.ones((3,) * len(shape)))
        mask: NDArray[np.bool_] = numbers == numbers[place]
        tight = find_tight_box(mask)
        return tight, mask[tight]

    def read_slab(slab: slice) -> tuple[NDArray[np.bool_]]:
        return (is_member((slice(box[0].start + slab.start, box[0].start + slab.stop), *box[1:])),)

    components = connect_runs(*find_runs_by_slabs(shape, read_slab), shape)
    found = components.find_at(place)
    tight = components.find_box(found)
    return tight, components.cut_out(found, tight)


def _find_piece(labels: NDArray[Any], seed: Sequence[int], *, is_planar: bool) -> Piece:
    index = check_inside(labels.shape, seed)
    value = int(labels[index])
    if value == 0:
        raise MedSegError("there is no label under the cursor. Point at a labelled piece.")
    box, mask = flood(labels.shape, index, lambda where: labels[where] == value, is_planar=is_planar)
    return Piece(value, box, mask, is_planar)


def check_inside(shape: Sequence[int], seed: Sequence[int]) -> tuple[int, ...]:
    """Return the index as a tuple of integers.

    Raises
    ------
    MedSegError
        If it is not in the image.
    """
    index = tuple(int(place) for place in seed)
    if len(index) != len(shape) or not all(0 <= place < length for place, length in zip(index, shape, strict=True)):
        raise MedSegError(f"the cursor is at {index}, outside the image of shape {tuple(shape)}. Point at the image.")
    return index


def _grow_side(side: slice, inner: slice, length: int, *, grows: bool) -> slice:
    """Extend a side of the box by its length where the region reaches it; to the whole axis from a half of it on."""
    extent = side.stop - side.start if grows else 0
    start = max(0, side.start - extent) if inner.start == 0 else side.start
    stop = min(length, side.stop + extent) if inner.stop == side.stop - side.start else side.stop
    return slice(0, length) if extent < stop - start and 2 * (stop - start) > length else slice(start, stop)
