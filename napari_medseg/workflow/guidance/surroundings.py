"""The slices around a corrected one, cut out of a volume, so that proposals do not copy and search all of it."""

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.through_slices import propose_on_neighbours
from napari_medseg.core.image import Image
from napari_medseg.core.project.strokes import Stroke, StrokeKind
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.drafts import Draft

REACH = 2
"""Slices to each side for which something is proposed."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A slice with its neighbours, as a canvas of its own.

    Parameters
    ----------
    canvas
        Copies of the slices; protected is what a person set.
    change
        How the labels of the slice differ from the prediction, in voxels of the canvas.
    plane, first
        The slice in the canvas, and the slice of the volume with which the canvas begins.
    shape
        Of the volume.
    """

    canvas: Canvas
    change: Stroke
    plane: int
    first: int
    shape: tuple[int, ...]

    @classmethod
    def cut(cls, draft: Draft, plane: int, task: Task, image: Image, uncertainty: NDArray[np.uint8]) -> Self:
        """Copy the slices around a slice of a draft.

        Parameters
        ----------
        draft, plane
            Draft of a volume (z, y, x), and the slice.
        task, image
            Of the case.
        uncertainty
            Of the model, per cent, of the shape of the volume.
        """
        first, last = max(0, plane - REACH), min(len(draft.labels), plane + REACH + 1)
        near = slice(first, last)
        n_pixels = int(np.prod(draft.labels.shape[1:]))
        labels = draft.labels[near].copy()
        protected = draft.edited.crop(first * n_pixels, last * n_pixels).make_mask(labels.shape)
        canvas = Canvas(
            labels, task, image.spacing_mm, protected, image.pixels[near].copy(), uncertainty=uncertainty[near].copy()
        )
        before, after = draft.predicted[plane].ravel(), draft.labels[plane].ravel()
        changed = np.flatnonzero(before != after)
        inside = plane - first
        change = Stroke.from_voxels(StrokeKind.PAINT, changed + inside * n_pixels, before[changed], after[changed])
        return cls(canvas, change, inside, first, draft.labels.shape)

    def propose(self) -> Generator[list[Edit]]:
        """Yield the proposals, as edits of the volume, in one list; a generator for a worker thread."""
        change = Edit(self.canvas.shape, self.change.voxel_runs, "")
        yield [self._move(edit) for edit in propose_on_neighbours(self.canvas, change, self.plane, REACH)]

    def _move(self, edit: Edit) -> Edit:
        """Return the edit of the canvas as one of the volume."""
        runs = edit.voxel_runs.copy()
        runs["start"] += self.first * int(np.prod(self.shape[1:]))
        message = re.sub(r"^slice (\d+)", lambda found: f"slice {int(found[1]) + self.first}", edit.message)
        return Edit(self.shape, runs, message)


def has_changes_on_plane(draft: Draft, plane: int) -> bool:
    """Return whether the labels of a slice differ from the prediction."""
    return not np.array_equal(draft.labels[plane], draft.predicted[plane])
