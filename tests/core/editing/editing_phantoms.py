"""Labels with exact counts for the tests of the editing tools."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.tasks.bundled_tasks import TASKS

NUCLEI, LUNGS, LESIONS = TASKS["nuclei"], TASKS["lungs"], TASKS["covid"]
DISK_PX = 197  # pixels within 8 of the centre of a pixel


def make_nuclei(n: int = 600, dtype: Any = np.uint16, first: int = 1) -> NDArray[Any]:
    """Disks of `DISK_PX` pixels, 25 in a row at a pitch of 20 px, numbered from `first` on."""
    labels = np.zeros((20 * -(-n // 25) + 12, 512), dtype)
    y, x = np.mgrid[-8:9, -8:9]
    disk = y * y + x * x <= 64
    for place in range(n):
        top, left = 20 * (place // 25) + 2, 20 * (place % 25) + 2
        labels[top : top + 17, left : left + 17][disk] = first + place
    return labels


def get_centre(place: int) -> tuple[int, int]:
    """Centre of the disk with this place, from 0, of `make_nuclei`."""
    return 20 * (place // 25) + 10, 20 * (place % 25) + 10


def make_block(shape: tuple[int, ...], *blocks: tuple[tuple[slice, ...], int], dtype: Any = np.uint8) -> NDArray[Any]:
    """Labels of a shape with boxes of values."""
    labels = np.zeros(shape, dtype)
    for box, value in blocks:
        labels[box] = value
    return labels


def freeze(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels that a tool cannot write to."""
    labels.flags.writeable = False
    return labels


def apply(canvas: Canvas, edit: Edit) -> NDArray[Any]:
    """Return changed labels, after a check that undo restores the old ones bit by bit."""
    labels = canvas.labels.copy()
    edit.apply(labels)
    assert edit.n_voxels == np.count_nonzero(labels != canvas.labels)
    undone = labels.copy()
    edit.revert(undone)
    assert np.array_equal(undone, canvas.labels)
    return labels
