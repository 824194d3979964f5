"""Helpers for the labels layer: active tool, appearance, and measurements."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.tasks.definitions import Task
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.layers import CONTOUR_PX, LABEL_OPACITY

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


def start_painting(viewer: "Viewer", layer: Labels, value: int) -> None:
    """Select the layer and paint with this label value."""
    viewer.layers.selection.active = layer
    layer.selected_label = value
    layer.mode = "paint"


def get_tools(layer: Labels) -> dict[str, Any]:
    """Return the current tool, brush, label and appearance of a layer."""
    return {name: getattr(layer, name) for name in TOOL_ATTRIBUTES}


def apply_tools(layer: Labels, tools: dict[str, Any]) -> None:
    """Apply the tools of another layer, as returned by `get_tools`."""
    for name, value in tools.items():
        setattr(layer, name, value)


@contextmanager
def keep_selected(viewer: "Viewer", layer: Labels | None) -> Iterator[None]:
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


def toggle_contour(layer: Labels) -> None:
    """Switch between filled labels and contours."""
    layer.contour = 0 if layer.contour else CONTOUR_PX
    layer.opacity = LABEL_OPACITY if not layer.contour else 1.0


def measure_layer(layer: Labels, current: OpenCase, task: Task) -> Generator[list[Measurement]]:
    """Measure the labels of a layer; a generator for a worker thread."""
    yield measure_labels(np.asarray(layer.data), current.image, task, current.load_roi_labels())


def replace_labels(layer: Labels, labels: NDArray[Any]) -> None:
    """Copy labels of the same shape into the array of the layer and refresh it."""
    layer.data[...] = labels
    layer.refresh()
