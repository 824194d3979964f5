"""What the tools read, and the one place where their changes become an edit: a person's voxels are law."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box, get_box_shape, group_near_boxes, join_boxes, move_box
from napari_medseg.core.editing.runs import cut_into_slabs, find_runs
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.strokes import VOXEL_RUN_DTYPE
from napari_medseg.core.tasks.bundled_tasks import Task


class Change(NamedTuple):
    """Voxels of a box that get a value.

    `mask` is bool in it; `new` is one value, one for each voxel of the box, or one for each old value that occurs.
    """

    box: Box
    mask: NDArray[np.bool_]
    new: int | NDArray[Any] | Mapping[int, int]

    def cut_into_slabs(self) -> "Iterator[Change]":
        """Cut a large change into smaller ones, along the first axis."""
        first = self.box[0].start
        for slab in cut_into_slabs(self.mask.shape):
            box = (slice(first + slab.start, first + slab.stop), *self.box[1:])
            yield Change(box, self.mask[slab], self.new[slab] if isinstance(self.new, np.ndarray) else self.new)


@dataclass(frozen=True, eq=False)
class Canvas:
    """Labels, and what is known of them; all arrays are read only by the tools.

    Parameters
    ----------
    labels
        Integer (y, x) or (z, y, x).
    task
        Its labels have the names that messages use; in a task of instances the values are object numbers.
    spacing_mm
        Millimetres per voxel for each axis of `labels`; `None` if unknown: then a voxel counts as 1 mm.
    protected
        Bool, of the shape of `labels`: voxels that a person painted or called right. No tool changes them. For a tool
        by which the person means to change them (delete this piece, cut here), the window passes a canvas without.
    image
        Pixels of the shape of `labels`, or with channels as one more axis; for the tools that look at it.
    unit
        Unit of its grey values, such as ``"HU"``, for messages.
    probability
        By the model: uint8 in 1/255 or float in [0, 1], (classes, *shape), class 0 is the background. In a task of
        instances one map (1, *shape) of any object, such as the depth inside a nucleus.
    uncertainty
        Probability that the model's label is wrong, uint8 in per cent, of the shape of `labels`.
    way_out
        What the person can do if all voxels that a tool would change are protected, for the message.
    """

    labels: NDArray[Any]
    task: Task
    spacing_mm: tuple[float, ...] | None = None
    protected: NDArray[np.bool_] | None = None
    image: NDArray[Any] | None = None
    unit: str = ""
    probability: NDArray[Any] | None = None
    uncertainty: NDArray[np.uint8] | None = None
    way_out: str = "Paint it by hand."

    def __post_init__(self) -> None:
        n_axes = self.labels.ndim
        if self.labels.dtype.kind not in "iu" or n_axes not in (2, 3):
            raise MedSegError(
                f"labels are {self.labels.dtype} with {n_axes} axes; the tools need integers (y, x) or (z, y, x)."
            )
        if self.spacing_mm is not None and len(self.spacing_mm) != n_axes:
            raise MedSegError(f"the spacing {self.spacing_mm} does not have one number for each of {n_axes} axes.")
        _check_shape("protected voxels", self.protected, self.labels.shape, slice(None))
        _check_shape("image", self.image, self.labels.shape, slice(0, n_axes))
        _check_shape("probability", self.probability, self.labels.shape, slice(1, None))
        _check_shape("uncertainty", self.uncertainty, self.labels.shape, slice(None))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return self.labels.shape

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel for each axis; 1.0 where unknown."""
        return self.spacing_mm or (1.0,) * self.labels.ndim

    def name(self, value: int) -> str:
        """Name of a label value for messages, such as ``nucleus 212``."""
        return self.task.get_label_name(int(value))

    def format_length(self, length_mm: float) -> str:
        """Return a length for messages: in pixels where the size of a voxel is unknown."""
        return f"{length_mm:g} {'px' if self.spacing_mm is None else 'mm'}"

    def get_writable(self, box: Box, value: int, *, may_overwrite: bool) -> NDArray[np.bool_]:
        """Voxels of a box that a tool may give a value: background and the value itself, or all."""
        labels = self.labels[box]
        return np.ones(labels.shape, np.bool_) if may_overwrite else (labels == 0) | (labels == value)

    def check_value(self, value: int) -> None:
        """Raise `MedSegError` if a label value is not one of the task, or does not fit the integer type."""
        allowed = self.task.instances or value in (0, *(label.value for label in self.task.labels))
        limit = min(int(np.iinfo(self.labels.dtype).max), self.task.largest_value)
        if not allowed or not 0 <= value <= limit:
            choices = f"0 to {limit}" if self.task.instances else str([label.value for label in self.task.labels])
            raise MedSegError(f"there is no label {value} here; choose one of {choices}.")

    def require_instances(self) -> None:
        """Raise `MedSegError` if the task's values are labels, not object numbers."""
        if not self.task.instances:
            raise MedSegError(
                f"{self.task.title} has labels, not numbered objects, so there is nothing to number. "
                "Give the piece another label instead."
            )

    def make_edit(
        self, message: str | Callable[[NDArray[Any]], str], changes: Iterable[Change], nothing: str = ""
    ) -> Edit:
        """Make one edit of all changes. Voxels that have the value already, or are protected, are left out.

        Parameters
        ----------
        message
            What was done, or what says so of the runs that change.
        changes
            They must not overlap. Those of a large image can be made one by one, so that each is small.
        nothing
            Reason to show if no voxel changes.

        Raises
        ------
        MedSegError
            If no voxel changes: the reason.
        """
        runs, n_kept = [], 0
        for change in (slab for one in changes for slab in one.cut_into_slabs()):
            changed = change.mask
            if not isinstance(change.new, Mapping):
                changed = changed & (self.labels[change.box] != change.new)
            if self.protected is not None:
                kept = changed & self.protected[change.box]
                n_kept += int(np.count_nonzero(kept))
                changed = changed & ~kept
            runs.append(self._pack(change.box, changed, change.new))
        voxel_runs = np.concatenate(runs) if runs else np.empty(0, VOXEL_RUN_DTYPE)
        if not voxel_runs.size:
            if n_kept:
                raise MedSegError(f"nothing changes: a person set all of it ({n_kept:,} voxels). {self.way_out}")
            raise MedSegError(nothing or f"nothing changes: {message} is done already.")
        text = message if isinstance(message, str) else message(voxel_runs)
        if (voxel_runs["start"][1:] < voxel_runs["start"][:-1]).any():
            voxel_runs = voxel_runs[np.argsort(voxel_runs["start"], kind="stable")]
        if n_kept:
            text += f"; {n_kept:,} voxels that a person set stay"
        return Edit(self.shape, voxel_runs, text)

    def make_confirmation(self, message: str, box: Box, mask: NDArray[np.bool_]) -> Edit:
        """Make an edit that changes no value: it says that the voxels are right, and the journal keeps that.

        Raises
        ------
        MedSegError
            If a person set all of them already.
        """
        confirmed = mask if self.protected is None else mask & ~self.protected[box]
        runs = self._pack(box, confirmed, self.labels[box])
        if not runs.size:
            raise MedSegError("a person set all of these voxels already.")
        return Edit(self.shape, runs, message)

    def _pack(self, box: Box, changed: NDArray[np.bool_], new: int | NDArray[Any] | Mapping[int, int]) -> NDArray[Any]:
        """Pack the changed voxels of a box into runs of equal old and new value."""
        old = np.ascontiguousarray(self.labels[box])
        start, stop = find_runs(changed, old, new) if isinstance(new, np.ndarray) else find_runs(changed, old)
        where = np.unravel_index(start, old.shape)
        places = tuple(place + side.start for place, side in zip(where, box, strict=True))
        runs = np.empty(start.size, VOXEL_RUN_DTYPE)
        runs["start"], runs["length"] = np.ravel_multi_index(places, self.shape), stop - start
        runs["old"] = old.reshape(-1)[start]
        if isinstance(new, Mapping):
            for before, after in new.items():
                runs["new"][runs["old"] == before] = after
        else:
            runs["new"] = new if isinstance(new, int) else new.reshape(-1)[start]
        return runs


def _check_shape(name: str, array: NDArray[Any] | None, shape: tuple[int, ...], spatial: slice) -> None:
    if array is not None and array.shape[spatial] != shape:
        raise MedSegError(f"the {name} has shape {array.shape}, the labels {shape}. Open the case again.")


def join_changes(changes: Sequence[Change]) -> list[Change]:
    """Join changes, with a value for each voxel, that lie close together: a hundred small ones take much longer."""
    joined = []
    for group in group_near_boxes([change.box for change in changes]):
        own = [changes[place] for place in group]
        box = join_boxes([change.box for change in own])
        mask, new = np.zeros(get_box_shape(box), np.bool_), np.zeros(get_box_shape(box), np.int64)
        for change in own:
            inner = move_box(change.box, box)
            mask[inner] |= change.mask
            assert isinstance(change.new, np.ndarray)
            new[inner][change.mask] = change.new[change.mask]
        joined.append(Change(box, mask, new))
    return joined


def format_size(canvas: Canvas, n_voxels: int, box: Box) -> str:
    """Return a number of voxels as text, such as ``431 px`` in a plane or ``2,413 voxels`` in a volume."""
    depth = get_box_shape(box)[0] if len(box) == 3 else 1
    return f"{n_voxels:,} {'px' if depth == 1 else 'voxels'}"
