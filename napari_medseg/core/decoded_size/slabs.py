"""Work on an array slab by slab, so that a check or a conversion takes no second array of the whole size."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLAB_ITEMS = 2**20


def iterate_slabs(values: NDArray[Any]) -> Iterator[tuple[slice, ...]]:
    """Yield indices that cut an array into slabs of about `SLAB_ITEMS` items, in the order of its memory."""
    if values.size == 0:
        return
    if values.ndim == 0:
        yield ()
        return
    axis = max(range(values.ndim), key=lambda n: (values.shape[n] > 1, abs(values.strides[n])))
    step = max(1, SLAB_ITEMS * values.shape[axis] // values.size)
    for start in range(0, values.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),)


def convert_to_native(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in native byte order: converted in place, so nobody else may hold them, or unchanged."""
    if values.dtype.isnative:
        return values
    if not values.flags.writeable:
        return values.astype(values.dtype.newbyteorder("="))
    return values.byteswap(inplace=True).view(values.dtype.newbyteorder("="))


def flip_in_place(values: NDArray[Any], axis: int) -> None:
    """Reverse an array along an axis in its own memory."""
    if axis == max(range(values.ndim), key=lambda n: abs(values.strides[n])):
        for n in range(values.shape[axis] // 2):
            low, high = ((slice(None),) * axis + (index,) for index in (n, values.shape[axis] - 1 - n))
            kept = values[low].copy()
            values[low] = values[high]
            values[high] = kept
        return
    for index in iterate_slabs(values):
        part = values[index]
        part[...] = np.flip(part, axis).copy()
