"""Merge labels that a person drew elsewhere, or that a model predicts anew, into the labels of a case."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as label_components

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import Task

MAX_VALUES_LISTED = 5
COMPARED_BYTES = 1 << 18
"""What fits into the cache of a processor."""


def merge_labels(labels: NDArray[Any], drawn: NDArray[Any], task: Task) -> NDArray[Any]:
    """Return a copy of `labels` with the voxels that are not zero in `drawn`, which win.

    In an instance task each connected object of `drawn` gets a number that no other object has: 1 in a new layer is not
    the nucleus that has number 1 already.

    Parameters
    ----------
    labels
        Labels of the case: integer, (y, x) or (z, y, x).
    drawn
        Drawn labels of the same shape.
    task
        Task of the case.

    Raises
    ------
    MedSegError
        If the shapes differ, or `drawn` has values that are no labels of the task.
    """
    if labels.shape != drawn.shape:
        raise MedSegError(f"the drawn labels have shape {drawn.shape}, but the image has {labels.shape}.")
    where = drawn != 0
    values = _number_objects(labels, drawn) if task.instances else drawn
    allowed = task.largest_value
    wrong = np.unique(values[where & ((values < 0) | (values > allowed))])
    if wrong.size:
        listed = ", ".join(str(value) for value in wrong[:MAX_VALUES_LISTED])
        names = ", ".join(f"{label.value} {label.name}" for label in task.labels)
        raise MedSegError(
            f"the drawn labels have the value {listed}, which {task.title} does not know. Its labels are: {names}. "
            "Change the values, or ignore the layer."
        )
    merged = np.where(where, values, labels)
    return merged.astype(np.promote_types(labels.dtype, np.min_scalar_type(int(merged.max(initial=0)))))


def keep_object_numbers(predicted: NDArray[Any], labels: NDArray[Any], edited: NDArray[np.int64]) -> NDArray[Any]:
    """Return newly predicted objects, numbered so that none has the number of another object that a person set.

    The new object that covers most of an object of which a person set voxels gets its number, so that both stay one
    object. Another new object with such a number gets a free one: else two objects far apart would become one.

    Parameters
    ----------
    predicted
        New object numbers, unsigned integer, (y, x) or (z, y, x).
    labels
        Present labels of the same shape.
    edited
        Flat C-order indices of the voxels that a person set.
    """
    own = np.unique(labels.reshape(-1)[edited])
    own = own[own > 0].astype(np.int64)
    if not own.size or not predicted.any():
        return predicted
    size = max(int(predicted.max()), int(labels.max())) + 1
    is_own = np.zeros(size, np.bool_)
    is_own[own] = True
    new_number = np.arange(size)
    occurring = own[np.isin(own, predicted)]
    new_number[occurring] = np.arange(size, size + occurring.size)
    for one, number in _find_successors(predicted, labels, is_own):
        new_number[one] = number
    renumbered: NDArray[Any] = new_number[predicted]
    return renumbered.astype(np.min_scalar_type(int(renumbered.max())))


def _find_successors(predicted: NDArray[Any], labels: NDArray[Any], is_own: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return pairs of a new object and the number of the object that it covers: each once, large overlaps first."""
    both = is_own[labels] & (predicted > 0)
    pairs, counts = np.unique(np.stack([predicted[both], labels[both]]).astype(np.int64), axis=1, return_counts=True)
    found: dict[int, int] = {}
    for place in np.argsort(-counts, kind="stable"):
        one, number = (int(value) for value in pairs[:, place])
        if one not in found and number not in found.values():
            found[one] = number
    return list(found.items())


def _number_objects(labels: NDArray[Any], drawn: NDArray[Any]) -> NDArray[np.int64]:
    kept = np.where(drawn == 0, labels, 0)  # an object that is drawn over completely no longer uses its number
    objects = label_components(drawn, background=0).astype(np.int64)
    return np.where(objects > 0, objects + int(kept.max(initial=0)), 0)


def have_equal_labels(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether two arrays of the same shape hold the same labels; in blocks that fit into the processor's cache.

    A large volume is compared four times as fast, because no array of its size is made.
    """
    if first.dtype != second.dtype or not (first.flags.c_contiguous and second.flags.c_contiguous):
        return np.array_equal(first, second)
    one, other = first.reshape(-1), second.reshape(-1)
    step = COMPARED_BYTES // first.itemsize
    return all(np.array_equal(one[at : at + step], other[at : at + step]) for at in range(0, one.size, step))


def count_differences(first: NDArray[Any], second: NDArray[Any]) -> int:
    """Count the voxels in which two C-contiguous arrays of the same shape differ, in blocks as `have_equal_labels`."""
    one, other = first.reshape(-1), second.reshape(-1)
    step = COMPARED_BYTES // first.itemsize
    return sum(int(np.count_nonzero(one[at : at + step] != other[at : at + step])) for at in range(0, one.size, step))
