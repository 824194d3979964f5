"""Bring a voxel into the middle of the view."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Labels

if TYPE_CHECKING:
    from napari import Viewer


def show_place(viewer: "Viewer", layer: Labels, index: Sequence[int]) -> None:
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
    camera.center = (*camera.center[:-2], world[-2], world[-1])
