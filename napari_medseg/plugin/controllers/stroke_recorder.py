"""Records every edit of the open labels layer in the journal of the draft.

The layer and the draft each hold an array. Changes without a paint event are found by comparing the two arrays.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Labels
from napari.utils.events import Event
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.strokes import PreparedStroke, Stroke
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.merge_labels import have_equal_labels

if TYPE_CHECKING:
    from napari_medseg.core.editing.edit import Edit


class ChangedVoxels(NamedTuple):
    """The change of one action: flat voxel indices, shape (n,), and the label values before and after."""

    indices: NDArray[np.int64]
    old: NDArray[Any]
    new: NDArray[Any]


class StrokeRecorder:
    """Connects a labels layer to a draft: edits go to the journal; undo and redo use the draft.

    Parameters
    ----------
    layer
        Layer that the user edits; it starts with a copy of the draft's labels.
    draft
        Stores the strokes.
    on_change
        Called after each change of the labels.
    """

    def __init__(self, layer: Labels, draft: Draft, on_change: Callable[[], None]) -> None:
        self._layer = layer
        self._draft = draft
        self._on_change = on_change
        self._refreshed = False
        layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        layer.events.set_data.connect(self._on_refreshed)

    def close(self) -> None:
        """Disconnect from the layer and record its last changes."""
        self.disconnect()
        self.record_last_changes()

    def disconnect(self) -> NDArray[Any]:
        """Record no events any more; return the array of the layer, whose last changes are still to be recorded."""
        self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.data.disconnect(self._on_data)
        self._layer.events.set_data.disconnect(self._on_refreshed)
        return np.asarray(self._layer.data)

    @property
    def has_stroke_in_progress(self) -> bool:
        """Whether a stroke of napari was begun, whose paint event follows at its end."""
        return bool(getattr(self._layer, "_staged_history", None))

    def prepare_edit(self, edit: "Edit", version: int) -> PreparedStroke | None:
        """Compute in a thread what `apply_edit` would take long for, as `Draft.prepare_edit`; `None` if it cannot."""
        labels = np.asarray(self._layer.data)
        if labels.shape != self._draft.labels.shape or not have_equal_labels(labels, self._draft.labels):
            return None
        return self._draft.prepare_edit(edit, version)

    def apply_edit(self, edit: "Edit", prepared: PreparedStroke | None = None) -> None:
        """Apply the edit of a tool to draft and layer, as one stroke; errors are those of `Draft.record_edit`.

        It is refused before anything is written if the layer holds other labels, or a stroke is in progress. With
        `prepared`, a thread found that layer and draft were equal; it is not used if the layer was refreshed since.
        """
        if self.has_stroke_in_progress:
            raise MedSegError("a stroke is in progress. Use the tool again after it.")
        if self._refreshed or prepared is None or prepared.version != self._draft.version:
            edit.check_is_current(self._layer.data)
            prepared = None
        self._draft.record_edit(edit, prepared)
        if not self._widen_layer():
            if prepared is None:
                edit.apply(self._layer.data)
            else:
                self._copy_rows(edit.stroke)
            self._layer.refresh(extent=False)
        self._on_change()

    def undo(self) -> Stroke | None:
        """Undo the last stroke, on any slice and also after a restart; return it, or `None` if there is none."""
        self.record_external_changes()
        return self._show_stroke(self._draft.undo())

    def redo(self) -> Stroke | None:
        """Redo the last undone stroke; return it, or `None` if there is none."""
        self.record_external_changes()
        return self._show_stroke(self._draft.redo())

    def show_draft(self) -> None:
        """Copy the draft's labels to the layer, after a change that was not a stroke."""
        if not self._widen_layer():
            self._layer.data[...] = self._draft.labels
            self._layer.refresh()
        self._on_change()

    def record_external_changes(self) -> None:
        """Record changes without a paint event: from the console, another plugin, or an assignment to the array.

        Raises
        ------
        MedSegError
            If the array was replaced by one with a different shape. The layer then shows the draft again.
        """
        if not self.has_stroke_in_progress:  # else a stroke is in progress; its paint event follows
            self.record_last_changes()

    def record_last_changes(self) -> None:
        """Like `record_external_changes`; a stroke in progress is recorded, too, because its event comes too late."""
        data, drafted = np.asarray(self._layer.data), self._draft.labels
        if data.shape != drafted.shape:
            self._layer.data = drafted.copy()
            raise MedSegError(
                f"the labels layer was given an array of shape {data.shape}, but its image has {drafted.shape}. "
                "The draft is shown again. Add other labels as a separate layer."
            )
        if not have_equal_labels(data, drafted):
            self._draft.record_missed_changes(data)
            self._on_change()

    def record_external_changes_if_refreshed(self) -> None:
        """Call `record_external_changes` only if the layer was refreshed since the last call that succeeded."""
        if self._refreshed:
            self.record_external_changes()
            self._refreshed = False

    def _on_refreshed(self, _event: Event) -> None:
        self._refreshed = True

    def _on_data(self, _event: Event) -> None:
        with show_errors():
            self.record_external_changes()

    def _on_paint(self, event: Event) -> None:
        edit = merge_paint_atoms(event.value, self._draft.labels.shape)
        if edit.indices.size:
            with show_errors():
                self._draft.record(*edit)
            self._on_change()

    def _show_stroke(self, stroke: Stroke | None) -> Stroke | None:
        if stroke is not None:
            if not self._widen_layer():
                if self.has_stroke_in_progress:  # of which the draft knows nothing yet
                    changed = np.unravel_index(stroke.indices, self._draft.labels.shape)
                    self._layer.data[changed] = self._draft.labels[changed]
                else:
                    self._copy_rows(stroke)
                self._layer.refresh()
            self._on_change()
        return stroke

    def _copy_rows(self, stroke: Stroke) -> None:
        """Copy the slices of a volume, or the rows of an image, with the voxels of a stroke; the others are equal."""
        labels, spans = self._draft.labels, stroke.spans
        n_voxels = int(np.prod(labels.shape[1:]))
        rows = slice(int(spans.start[0]) // n_voxels, int(spans.stop[-1] - 1) // n_voxels + 1)
        self._layer.data[rows] = labels[rows]

    def _widen_layer(self) -> bool:
        """Give the layer a copy of the draft if its integer type holds fewer values; return whether it did."""
        is_narrower = self._layer.data.dtype.itemsize < self._draft.labels.dtype.itemsize
        if is_narrower:
            self._layer.data = self._draft.labels.copy()
        return is_narrower


def merge_paint_atoms(atoms: Iterable[Any], shape: tuple[int, ...]) -> ChangedVoxels:
    """Merge the atoms of one napari undo item into one edit.

    Parameters
    ----------
    atoms
        What `Labels.events.paint` carries: masked boxes (``slice_key``, ``mask``, ``old_values``, ``new_value``) or
        ``(indices, old, new)``, in chronological order. A voxel may occur in several atoms.
    shape
        Shape of the labels array, (y, x) or (z, y, x).

    Returns
    -------
    ChangedVoxels
        Each changed voxel once, with its value before the first and after the last atom.
    """
    parts = [
        _read_masked_atom(atom, shape) if hasattr(atom, "slice_key") else _read_indexed_atom(atom, shape)
        for atom in atoms
    ]
    if not parts:
        return ChangedVoxels(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    indices, old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
    unique, first = np.unique(indices, return_index=True)
    last = indices.size - 1 - np.unique(indices[::-1], return_index=True)[1]
    changed = old[first] != new[last]
    return ChangedVoxels(unique[changed], old[first][changed], new[last][changed])


def _read_masked_atom(atom: Any, shape: tuple[int, ...]) -> ChangedVoxels:  # noqa: ANN401 - napari's own private type
    old, box, mask = np.asarray(atom.old_values), atom.slice_key, atom.mask
    inside = np.nonzero(np.ones(old.shape, bool) if mask is None else mask)
    where = tuple(axis + edge.start for axis, edge in zip(inside, box, strict=True))
    indices = np.ravel_multi_index(where, shape).astype(np.int64)
    return ChangedVoxels(indices, old.reshape(-1), np.full(indices.size, atom.new_value, old.dtype))


def _read_indexed_atom(atom: tuple[Any, Any, Any], shape: tuple[int, ...]) -> ChangedVoxels:
    where, old, new = atom
    indices = np.ravel_multi_index(tuple(np.asarray(axis).reshape(-1) for axis in where), shape).astype(np.int64)
    old = np.asarray(old).reshape(-1)
    return ChangedVoxels(indices, old, np.broadcast_to(np.asarray(new, old.dtype).reshape(-1), old.shape))
