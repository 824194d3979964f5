"""Merge labels that a person drew elsewhere into the labels of a case."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as label_components

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import Task

MAX_VALUES_LISTED = 5


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


def _number_objects(labels: NDArray[Any], drawn: NDArray[Any]) -> NDArray[np.int64]:
    kept = np.where(drawn == 0, labels, 0)  # an object that is drawn over completely no longer uses its number
    objects = label_components(drawn, background=0).astype(np.int64)
    return np.where(objects > 0, objects + int(kept.max(initial=0)), 0)
