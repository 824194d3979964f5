"""An edit: which voxels a tool wants to change, and what the message line says about it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.geometry import Box
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.strokes import Spans, Stroke, StrokeKind, have_values, write_values


@dataclass(frozen=True, eq=False)
class Edit:
    """A change of labels: shown as a preview, applied, undone and recorded with the same object.

    Parameters
    ----------
    shape
        Shape of the labels, (y, x) or (z, y, x).
    voxel_runs
        Structured array (runs,) of `core.project.strokes.VOXEL_RUN_DTYPE`, ascending; each run lies in one row. Old and
        new value are equal where a person only says that the label is right.
    message
        What was done, for the message line: ``"split nucleus 212 into 212 and 665"``.
    grey_range
        Lowest and highest grey value that the smart brush accepts, in units of the image; else `None`.
    """

    shape: tuple[int, ...]
    voxel_runs: NDArray[Any]
    message: str
    grey_range: tuple[float, float] | None = None

    @property
    def stroke(self) -> Stroke:
        """The edit as one stroke of the journal."""
        return Stroke(StrokeKind.PAINT, self.voxel_runs)

    @property
    def n_voxels(self) -> int:
        """Number of voxels that change."""
        return int(self.voxel_runs["length"].sum())

    @cached_property
    def box(self) -> Box:
        """The smallest box with all voxels that change."""
        *outer, x = np.unravel_index(self.voxel_runs["start"].astype(np.int64), self.shape)
        sides = [slice(int(place.min()), int(place.max()) + 1) for place in outer]
        return (*sides, slice(int(x.min()), int((x + self.voxel_runs["length"]).max())))

    @property
    def planes(self) -> range:
        """Slices of a volume from the first to the last that changes; the only one of a 2-D image is 0."""
        return range(self.box[0].start, self.box[0].stop) if len(self.shape) == 3 else range(1)

    def render_plane(self, plane: int = 0) -> "PlanePreview":
        """Return the change on one slice, as the window shows it before it is applied; 0 for a 2-D image."""
        runs, (height, width) = self.voxel_runs, self.shape[-2:]
        start = runs["start"].astype(np.int64) - plane * height * width
        first, last = np.searchsorted(start, (0, height * width))
        start, runs = start[first:last], runs[first:last]
        (y, x), length = np.divmod(start, width), runs["length"].astype(np.int64)
        if not start.size:
            nothing = np.zeros((0, 0), np.uint32)
            return PlanePreview((slice(0, 0), slice(0, 0)), nothing.astype(np.bool_), nothing, nothing)
        box = (slice(int(y[0]), int(y[-1]) + 1), slice(int(x.min()), int((x + length).max())))
        shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
        mask, old, new = np.zeros(shape, np.bool_), np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
        first_index = (y - box[0].start) * shape[1] + x - box[1].start
        indices = Spans(first_index, first_index + length).expand()
        mask.reshape(-1)[indices] = True
        old.reshape(-1)[indices] = np.repeat(runs["old"], length)
        new.reshape(-1)[indices] = np.repeat(runs["new"], length)
        return PlanePreview(box, mask, old, new)

    def check_is_current(self, labels: NDArray[Any]) -> None:
        """Raise `MedSegError` if the edit was made from other labels: of another shape, or changed since."""
        self._check(labels, "old")

    def apply(self, labels: NDArray[Any]) -> None:
        """Write the new values into C-contiguous labels of the same shape.

        Raises
        ------
        MedSegError
            If the shape differs, or a voxel no longer has the old value, because the labels changed since.
        """
        self._write(labels, "old", "new")

    def revert(self, labels: NDArray[Any]) -> None:
        """Write the old values back; the inverse of `apply`, with the same errors."""
        self._write(labels, "new", "old")

    def _write(self, labels: NDArray[Any], before: str, after: str) -> None:
        self._check(labels, before)
        write_values(labels.reshape(-1), self.voxel_runs, after)

    def _check(self, labels: NDArray[Any], before: str) -> None:
        """Compare all voxels: a stale edit would overwrite what a person set, and undo would not bring it back."""
        if labels.shape != self.shape or not labels.flags.c_contiguous:
            raise MedSegError(f"this edit is for labels of shape {self.shape}, not {labels.shape}. Use the tool again.")
        if not have_values(labels.reshape(-1), self.voxel_runs, before):
            raise MedSegError("the labels changed since this preview was made. Use the tool again.")


@dataclass(frozen=True, eq=False)
class PlanePreview:
    """The change on one slice: its box (y, x), the voxels that change, bool, their old and new values, uint32."""

    box: Box
    mask: NDArray[np.bool_]
    old: NDArray[np.uint32]
    new: NDArray[np.uint32]
