"""Every edit of the open labels layer, caught as it happens and written to the draft's journal.

The layer and the draft each hold an array: what differs between them came without a paint event, and is found so.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Labels
from napari.utils.events import Event
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.strokes import Stroke
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.drafts import Draft


class Edit(NamedTuple):
    """What one action changed: flat indices into the labels, and their values before and after."""

    indices: NDArray[np.int64]
    old: NDArray[Any]
    new: NDArray[Any]


class StrokeRecorder:
    """Tie a labels layer to a draft: brush, fill and polygon are journalled, undo and redo go through the draft.

    Parameters
    ----------
    layer
        Layer that is edited; starts with a copy of the draft's labels.
    draft
        Where the strokes go.
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
        """Record what is left and let go of the layer."""
        self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.data.disconnect(self._on_data)
        self._layer.events.set_data.disconnect(self._on_refreshed)
        self.record_external_changes()

    def undo(self) -> Stroke | None:
        """Take the last stroke back, whichever slice it was on and whenever it was made; return it, or `None`."""
        self.record_external_changes()
        return self._show_stroke(self._draft.undo())

    def redo(self) -> Stroke | None:
        """Make the stroke again that was taken back last; return it, or `None`."""
        self.record_external_changes()
        return self._show_stroke(self._draft.redo())

    def show_draft(self) -> None:
        """Show the draft's labels in the layer, after something other than a stroke has changed them."""
        self._layer.data[...] = self._draft.labels
        self._layer.refresh()
        self._on_change()

    def record_external_changes(self) -> None:
        """Record changes that came without a paint event: a console, another plugin, an assignment to the array.

        Raises
        ------
        MedSegError
            If the array was exchanged for one of another shape; the layer then shows the draft again.
        """
        data, drafted = np.asarray(self._layer.data), self._draft.labels
        if getattr(self._layer, "_staged_history", None):
            return  # in the middle of a stroke, whose paint event is still to come
        if data.shape != drafted.shape:
            self._layer.data = drafted.copy()
            raise MedSegError(
                f"the labels layer was given an array of shape {data.shape}, but its image has {drafted.shape}. "
                "The draft is shown again. Add other labels as a separate layer."
            )
        if not np.array_equal(data, drafted):
            self._draft.record_missed_changes(data)
            self._on_change()

    def record_external_changes_if_refreshed(self) -> None:
        """Do so only if the layer was drawn anew since the last call, as after a change from elsewhere."""
        if self._refreshed:
            self._refreshed = False
            self.record_external_changes()

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
            changed = np.unravel_index(stroke.indices, self._draft.labels.shape)
            self._layer.data[changed] = self._draft.labels[changed]
            self._layer.refresh()
            self._on_change()
        return stroke


def merge_paint_atoms(atoms: Iterable[Any], shape: tuple[int, ...]) -> Edit:
    """Join the atoms of one napari undo item into one edit.

    Parameters
    ----------
    atoms
        What `Labels.events.paint` carries: masked boxes (``slice_key``, ``mask``, ``old_values``, ``new_value``) or
        ``(indices, old, new)``, in the order in which they were made. A voxel may be in several of them.
    shape
        Shape of the labels.

    Returns
    -------
    Edit
        Each changed voxel once, with the value before the first atom and after the last.
    """
    parts = [
        _read_masked_atom(atom, shape) if hasattr(atom, "slice_key") else _read_indexed_atom(atom, shape)
        for atom in atoms
    ]
    if not parts:
        return Edit(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))
    indices, old, new = (np.concatenate(column) for column in zip(*parts, strict=True))
    unique, first = np.unique(indices, return_index=True)
    last = indices.size - 1 - np.unique(indices[::-1], return_index=True)[1]
    changed = old[first] != new[last]
    return Edit(unique[changed], old[first][changed], new[last][changed])


def _read_masked_atom(atom: Any, shape: tuple[int, ...]) -> Edit:  # noqa: ANN401 - napari's own private type
    old, box, mask = np.asarray(atom.old_values), atom.slice_key, atom.mask
    inside = np.nonzero(np.ones(old.shape, bool) if mask is None else mask)
    where = tuple(axis + edge.start for axis, edge in zip(inside, box, strict=True))
    indices = np.ravel_multi_index(where, shape).astype(np.int64)
    return Edit(indices, old.reshape(-1), np.full(indices.size, atom.new_value, old.dtype))


def _read_indexed_atom(atom: tuple[Any, Any, Any], shape: tuple[int, ...]) -> Edit:
    where, old, new = atom
    indices = np.ravel_multi_index(tuple(np.asarray(axis).reshape(-1) for axis in where), shape).astype(np.int64)
    old = np.asarray(old).reshape(-1)
    return Edit(indices, old, np.broadcast_to(np.asarray(new, old.dtype).reshape(-1), old.shape))
