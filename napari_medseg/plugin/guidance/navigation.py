"""Bring a place into view: its slice, and the middle of the view unless it is seen well already."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer

if TYPE_CHECKING:
    from napari import Viewer

COMFORTABLE_SHARE = 0.8
"""Of the view's width and height, around its middle: what lies inside is seen with something of what surrounds it."""


def show_place(viewer: "Viewer", layer: Layer, index: Sequence[int], box: Sequence[slice] = ()) -> None:
    """Show the slice of a place; the zoom stays, and the view moves only if the place is not seen well.

    Parameters
    ----------
    viewer, layer
        The viewer, and the layer on whose grid the place is.
    index
        Its middle voxel, (z, y, x) or (y, x).
    box
        Its voxels along the same axes; without it, the middle voxel alone.
    """
    if layer.ndim > 2:
        viewer.dims.set_point(viewer.dims.ndim - layer.ndim, layer.data_to_world(index)[0])
    if not _is_seen_well(viewer, layer, [(side.start, side.stop - 1) for side in box] or [(at, at) for at in index]):
        _move_to(viewer, layer.data_to_world(index))


def _is_seen_well(viewer: "Viewer", layer: Layer, ends: Sequence[tuple[int, int]]) -> bool:
    corners = np.array([layer.data_to_world([side[end] for side in ends])[-2:] for end in (0, 1)])
    camera = viewer.scene.camera
    reach = np.asarray(viewer.canvas.size) / camera.zoom / 2 * COMFORTABLE_SHARE
    return bool((np.abs(corners - np.asarray(camera.center[-2:])) <= reach).all())


def _move_to(viewer: "Viewer", world: Sequence[float]) -> None:
    camera = viewer.scene.camera
    moved = world[-2] - camera.center[-2], world[-1] - camera.center[-1]
    camera.center = (*camera.center[:-2], world[-2], world[-1])
    # napari moves its cursor only with the mouse. The mouse stays on the canvas, so it is over another voxel now.
    *before, y, x = viewer.cursor.position
    viewer.cursor.position = (*before, y + moved[0], x + moved[1])
