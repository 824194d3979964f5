"""Connected components of large masks, from runs of voxels along x.

A lung of 20 million voxels has some 100,000 runs: to connect runs takes a fifth of the time of a voxel-wise labelling.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

Indices = NDArray[np.int64]
_EARLIER_ROWS_FULL = ((0, -1), (-1, -1), (-1, 0), (-1, 1))
_EARLIER_ROWS_BY_FACES = ((0, -1), (-1, 0))
SLAB_VOXELS = 1 << 19
"""Large arrays are read in slabs of about so many voxels, because the intermediate arrays then stay in the cache."""


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components of an array.

    Parameters
    ----------
    shape
        Shape of the array.
    start, stop
        Flat C-order range of each run, int64 (runs,), ascending; a run lies in one row.
    number
        Component of each run, int64 (runs,), from 0.
    n
        Number of components.
    """

    shape: tuple[int, ...]
    start: Indices
    stop: Indices
    number: Indices
    n: int

    @cached_property
    def sizes(self) -> Indices:
        """Voxels of each component, int64 (n,)."""
        sizes: Indices = np.bincount(self.number, self.stop - self.start, self.n).astype(np.int64)
        return sizes

    def find_at(self, index: tuple[int, ...]) -> int:
        """Return the component of a voxel; -1 if it belongs to none."""
        flat = int(np.ravel_multi_index(index, self.shape))
        run = int(np.searchsorted(self.start, flat, side="right")) - 1
        return int(self.number[run]) if run >= 0 and flat < self.stop[run] else -1

    def touch_border(self) -> NDArray[np.bool_]:
        """Whether each component has a voxel on the border of the array; an axis of length 1 has no border."""
        touches = np.zeros(self.n, np.bool_)
        *outer, x = np.unravel_index(self.start, self.shape)
        at_border = (x == 0) | (x + (self.stop - self.start) == self.shape[-1])
        for place, length in zip(outer, self.shape[:-1], strict=True):
            if length > 1:
                at_border |= (place == 0) | (place == length - 1)
        touches[self.number[at_border]] = True
        return touches

    def find_box(self, component: int) -> tuple[slice, ...]:
        """Return the smallest box with a component."""
        chosen = self.number == component
        start, stop = self.start[chosen], self.stop[chosen]
        *outer, x = np.unravel_index(start, self.shape)
        sides = [slice(int(place.min()), int(place.max()) + 1) for place in outer]
        return (*sides, slice(int(x.min()), int((x + stop - start).max())))

    def cut_out(self, component: int, box: tuple[slice, ...]) -> NDArray[np.bool_]:
        """Return the voxels of a component in its box, bool of the shape of the box."""
        chosen = self.number == component
        start, length = self.start[chosen], self.stop[chosen] - self.start[chosen]
        places = [at - side.start for at, side in zip(np.unravel_index(start, self.shape), box, strict=True)]
        shape = tuple(side.stop - side.start for side in box)
        first = np.ravel_multi_index(places, shape).astype(np.int64)
        return fill_runs(first, first + length, shape)

    def paint(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the voxels of chosen components, bool of `shape`; `chosen` is bool (n,)."""
        runs = chosen[self.number]
        return fill_runs(self.start[runs], self.stop[runs], self.shape)


def find_components(mask: NDArray[Any], *, full: bool = True) -> Components:
    """Connect true voxels, or equal labels above 0, of (y, x) or (z, y, x).

    Parameters
    ----------
    mask
        Bool, or integer labels: then voxels of different labels are not connected.
    full
        Connect by faces, edges and corners; else by faces only.
    """
    start, stop = find_runs(mask)
    values = None if mask.dtype == np.bool_ else mask.reshape(-1)[start]
    return connect_runs(start, stop, mask.shape, values=values, full=full)


def connect_runs(
    start: Indices, stop: Indices, shape: tuple[int, ...], *, values: NDArray[Any] | None = None, full: bool = True
) -> Components:
    """Connect ascending runs that each lie in one row of an array, as `find_components`; only those of equal value."""
    height, width = shape[-2:]
    row = start // width
    plane, y = np.divmod(row, height)
    low, high = start - int(full), stop + int(full)
    if full:  # a corner lies in the same row
        np.maximum(low, row * width, out=low)
        np.minimum(high, (row + 1) * width, out=high)
    links = []
    is_plane = len(shape) == 2 or shape[0] == 1
    for dz, dy in _EARLIER_ROWS_FULL if full else _EARLIER_ROWS_BY_FACES:
        if dz and is_plane:
            continue
        offset = (dz * height + dy) * width
        first = np.searchsorted(stop, low + offset, side="right")
        count = np.searchsorted(start, high + offset, side="left") - first
        count[(plane + dz < 0) | (y + dy < 0) | (y + dy >= height)] = 0
        links.append(_pair(first, count))
    one, other = (np.concatenate(ends) for ends in zip(*links, strict=True))
    if values is not None:
        alike = values[one] == values[other]
        one, other = one[alike], other[alike]
    graph = sparse.coo_array((np.ones(one.size), (one, other)), shape=(start.size, start.size))
    n, number = csgraph.connected_components(graph, directed=False)
    return Components(shape, start, stop, number.astype(np.int64), int(n) if start.size else 0)


def cut_into_slabs(shape: Sequence[int]) -> Iterator[slice]:
    """Cut an array of (y, x) or (z, y, x) along its first axis into slabs of about `SLAB_VOXELS`."""
    step = max(1, SLAB_VOXELS // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def find_runs(mask: NDArray[Any], *values: NDArray[Any]) -> tuple[Indices, Indices]:
    """Return flat starts and stops of the runs along the last axis.

    Parameters
    ----------
    mask
        Bool: runs of true voxels; or integer: runs of equal labels above 0.
    values
        Arrays of the shape of a bool mask: in each of them, a run has one value.
    """
    return find_runs_by_slabs(mask.shape, lambda slab: (mask[slab], *(array[slab] for array in values)))


def find_runs_by_slabs(
    shape: tuple[int, ...], read_slab: Callable[[slice], tuple[NDArray[Any], ...]]
) -> tuple[Indices, Indices]:
    """Like `find_runs`, of arrays that are never there as a whole: `read_slab` returns planes, or rows in 2-D."""
    n_voxels = math.prod(shape[1:])
    parts = [(slab.start * n_voxels, *_find_runs_in_slab(*read_slab(slab))) for slab in cut_into_slabs(shape)]
    if len(parts) == 1:
        return parts[0][1:]
    nothing = [np.empty(0, np.int64)]
    starts = [start + first for first, start, _stop in parts]
    return np.concatenate(starts or nothing), np.concatenate([stop + first for first, _, stop in parts] or nothing)


def _find_runs_in_slab(mask: NDArray[Any], *values: NDArray[Any]) -> tuple[Indices, Indices]:
    flat = np.ascontiguousarray(mask).reshape(-1)
    changes = np.zeros(-(-flat.size // 8) * 8, np.uint8)
    changes[1 : flat.size] = _compare_neighbours(flat)
    for array in values:
        other = np.ascontiguousarray(array).reshape(-1)
        changes[1 : flat.size] |= (other[1:] != other[:-1]) & flat[1:]
    changes[: flat.size : mask.shape[-1]] = 1
    start = _find_nonzero(changes)
    stop = np.append(start[1:], flat.size)
    is_run = flat[start] > 0
    return start[is_run], stop[is_run]


def _compare_neighbours(flat: NDArray[Any]) -> NDArray[Any]:
    """Return bytes that are not 0 where a value differs from the one before it; of single bytes by the fastest way."""
    if flat.itemsize == 1 and flat.dtype != np.bool_:
        flat = flat.view(np.uint8)
    differs: NDArray[Any] = flat[1:] ^ flat[:-1] if flat.itemsize == 1 else flat[1:] != flat[:-1]
    return differs


def _find_nonzero(changes: NDArray[np.uint8]) -> Indices:
    """Return the places of bytes that are not 0. They are few, so that eight are looked at together."""
    words = changes.view(np.uint64)
    found = np.flatnonzero(words != 0)
    inside = np.flatnonzero(words[found].view(np.uint8))
    places: Indices = found[inside >> 3] * 8 + (inside & 7)
    return places


def fill_runs(start: Indices, stop: Indices, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return a mask, bool of `shape`, that is true in the runs; they are ascending and disjoint."""
    edges = np.empty(2 * start.size + 2, np.int64)
    edges[0], edges[1:-1:2], edges[2:-1:2], edges[-1] = 0, start, stop, int(np.prod(shape))
    inside = np.arange(edges.size - 1) % 2 == 1
    return np.repeat(inside, np.diff(edges)).reshape(shape)


def _pair(first: Indices, count: Indices) -> tuple[Indices, Indices]:
    """Pair each run with `count` runs from `first` on."""
    one = np.repeat(np.arange(first.size), count)
    step = np.arange(one.size) - np.repeat(np.cumsum(count) - count, count)
    return one, first[one] + step
