"""Pixels and pieces of numbered objects, in one pass over the image however many objects there are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure


def count_object_pixels(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the numbers of the objects, ascending, and the pixels of each; 0 is background. Any shape."""
    if has_dense_numbers(labels):
        counts = np.bincount(labels.ravel())
        numbers = np.flatnonzero(counts)
        numbers = numbers[numbers > 0]
        return numbers, counts[numbers]
    return np.unique(labels[labels > 0], return_counts=True)


def renumber_consecutively(labels: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the objects renumbered from 1 without gaps, in their order, and how many there are. The shape is kept."""
    numbers, _ = count_object_pixels(labels)
    dtype = np.min_scalar_type(len(numbers))
    if len(numbers) == int(labels.max(initial=0)):
        return labels.astype(dtype, copy=False), len(numbers)
    if not has_dense_numbers(labels):
        return np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0).astype(dtype), len(numbers)
    new = np.zeros(int(labels.max(initial=0)) + 1, dtype)
    new[numbers] = np.arange(1, len(numbers) + 1, dtype=dtype)
    return new[labels], len(numbers)


def iterate_objects(labels: NDArray[Any]) -> Iterator[tuple[tuple[slice, ...], NDArray[np.bool_]]]:
    """Yield the bounding box of each object, and where the object is in it."""
    numbered, _ = renumber_consecutively(labels)  # a list of boxes is as long as the largest number
    for index, box in enumerate(ndimage.find_objects(numbered)):
        yield box, numbered[box] == index + 1


def count_pieces(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the connected pieces (by faces, edges or corners) of each object, in the order of their numbers."""
    numbered, n_objects = renumber_consecutively(labels)
    pieces, n_pieces = measure.label(numbered, connectivity=numbered.ndim, return_num=True)
    owners = np.zeros(n_pieces + 1, numbered.dtype)
    owners[pieces] = numbered
    counts: NDArray[np.int64] = np.bincount(owners[1:], minlength=n_objects + 1)[1:]
    return counts


def has_dense_numbers(labels: NDArray[Any]) -> bool:
    """Whether a table of all numbers is no larger than the image; a single number may be four billion."""
    largest, smallest = int(labels.max(initial=0)), int(labels.min(initial=0))
    return labels.dtype.kind in "iub" and smallest >= 0 and largest <= labels.size
