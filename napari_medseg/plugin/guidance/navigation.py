"""Bring a voxel into the middle of the view."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Layer

if TYPE_CHECKING:
    from napari import Viewer


def show_place(viewer: "Viewer", layer: Layer, index: Sequence[int]) -> None:
    """Show the slice of a voxel, and its place on the slice in the middle; the zoom stays.

    Parameters
    ----------
    viewer, layer
        The viewer, and the layer on whose grid the voxel is.
    index
        (z, y, x) or (y, x).
    """
    world = layer.data_to_world(index)
    if layer.ndim > 2:
        viewer.dims.set_point(viewer.dims.ndim - layer.ndim, world[0])
    camera = viewer.scene.camera
    moved = world[-2] - camera.center[-2], world[-1] - camera.center[-1]
    camera.center = (*camera.center[:-2], world[-2], world[-1])
    # napari moves its cursor only with the mouse. The mouse stays on the canvas, so it is over another voxel now.
    *before, y, x = viewer.cursor.position
    viewer.cursor.position = (*before, y + moved[0], x + moved[1])
