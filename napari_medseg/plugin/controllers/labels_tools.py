"""Helpers for the labels layer: active tool, appearance, and measurements."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.keymap import REDO_KEY, UNDO_KEY
from napari_medseg.plugin.label_colours import get_contour_px, get_first_contour_px, get_opacity

if TYPE_CHECKING:
    from napari import Viewer

TOOL_ATTRIBUTES = (
    "brush_size",
    "contiguous",
    "contour",
    "mode",
    "n_edit_dimensions",
    "opacity",
    "preserve_labels",
    "selected_label",
)
NEW_TOOLS: dict[str, Any] = {
    "brush_size": 10,
    "contiguous": True,
    "mode": "pan_zoom",
    "n_edit_dimensions": 2,
    "preserve_labels": False,
}
"""Those of a new labels layer, beside its look; a layer that is used again starts with them too."""
FITTED_CONTOUR = "fitted contour"
"""Whether the contour has the width that fits the size of its image; another one was chosen."""
TRANSFORM_MODE = "transform"  # moves the layer off its image, so it is no tool of ours


def bind_history_keys(layer: Labels, undo: Callable[[], None], redo: Callable[[], None]) -> None:
    """Let the keys of undo and redo on this layer use our journal instead of napari's history of one slice."""
    layer.bind_key(UNDO_KEY, lambda _: undo(), overwrite=True)
    layer.bind_key(REDO_KEY, lambda _: redo(), overwrite=True)


def start_painting(viewer: "Viewer", layer: Labels, value: int) -> None:
    """Select the layer and paint with this label value."""
    viewer.layers.selection.active = layer
    layer.selected_label = value
    layer.mode = "paint"


def get_tools(layer: Labels) -> dict[str, Any]:
    """Return the current tool, brush, label and appearance of a layer."""
    tools = {name: getattr(layer, name) for name in TOOL_ATTRIBUTES}
    is_fitted = layer.contour == get_contour_px(layer.data.shape)
    return {**tools, FITTED_CONTOUR: is_fitted, "mode": "pan_zoom" if layer.mode == TRANSFORM_MODE else layer.mode}


def apply_tools(layer: Labels, tools: dict[str, Any], task: Task, free_number: int = 1) -> None:
    """Apply tools that were last used in the same task, as returned by `get_tools`, as far as this layer has them.

    `free_number` is a number that no object has, as of `find_free_numbers`; it is selected in an instance task.
    """
    first = {**NEW_TOOLS, "contour": get_first_contour_px(task, layer.data.shape)}
    first["opacity"] = get_opacity(task, first["contour"])
    if tools.get(FITTED_CONTOUR):  # contours of a small image would be dotted on a large one
        tools = {**tools, "contour": get_contour_px(layer.data.shape)}
    for name in TOOL_ATTRIBUTES:
        wanted = tools.get(name, first.get(name))
        if name != "selected_label" and getattr(layer, name) != wanted:  # napari draws again for each change
            setattr(layer, name, wanted)
    layer.n_edit_dimensions = min(layer.n_edit_dimensions, layer.ndim)
    select_initial_label(layer, task, tools.get("selected_label"), free_number)


def select_initial_label(layer: Labels, task: Task, wanted: int | None = None, free_number: int = 1) -> None:
    """Select `wanted` if it is a label of the task, else its first label; in an instance task, `free_number`.

    A number of another image would join a new object to one that has this number here.
    """
    if task.instances:
        layer.selected_label = free_number
    else:
        values = [label.value for label in task.labels]
        layer.selected_label = wanted if wanted in (0, *values) else values[0]


def select_free_object(layer: Labels, task: Task) -> None:
    """After the labels were replaced: select a free number in an instance task, as the selected one may be in use."""
    if task.instances and layer.selected_label:
        layer.selected_label = find_free_object_value(layer)


def find_free_object_value(layer: Labels) -> int:
    """Return a label value, 1 or more, that no object of the layer uses; raises like `find_free_numbers`.

    A layer of 16 bits whose numbers are all used becomes one of 32 bits.
    """
    labels = np.asarray(layer.data)
    limit = np.iinfo(np.uint16).max
    if labels.dtype == np.uint16 and labels.max(initial=0) == limit and np.count_nonzero(np.unique(labels)) == limit:
        layer.data = labels = labels.astype(np.uint32)
    return find_free_numbers(labels)[0]


@contextmanager
def keep_selected(viewer: "Viewer", layer: Layer | None) -> Iterator[None]:
    """Keep a layer selected and its tool active while layers are added; napari would select the new layers."""
    mode = None if layer is None else layer.mode
    yield
    if layer is not None and layer in viewer.layers:
        viewer.layers.selection.active = layer
        layer.mode = mode


def hide_while_held(layer: Labels) -> Generator[None]:
    """Make the labels transparent until the generator resumes. If they were hidden, napari would reset the tool."""
    opacity, layer.opacity = layer.opacity, 0.0
    yield
    layer.opacity = opacity


def toggle_contour(layer: Labels, task: Task) -> None:
    """Switch between filled labels and contours."""
    layer.contour = 0 if layer.contour else get_contour_px(layer.data.shape)
    layer.opacity = get_opacity(task, layer.contour)


def measure_layer(layer: Labels, current: OpenCase, task: Task) -> Generator[list[Measurement]]:
    """Return a generator for a worker thread that measures the labels that the layer shows now.

    Its array is taken at once: when the thread starts, the layer may show the labels of another case.
    """
    return _measure(np.asarray(layer.data), current, task)


def _measure(labels: NDArray[Any], current: OpenCase, task: Task) -> Generator[list[Measurement]]:
    yield measure_labels(labels, current.image, task, current.load_roi_labels())


def replace_labels(layer: Labels, labels: NDArray[Any]) -> None:
    """Copy labels of the same shape into the array of the layer and refresh it; wider labels become its array."""
    if labels.dtype.itemsize > layer.data.dtype.itemsize:
        layer.data = labels.copy()
    else:
        layer.data[...] = labels
        layer.refresh()
