"""Keeps the image where it is when a panel beside it changes its width.

napari keeps the centre of the canvas when the canvas changes its size. So the image moves when a panel becomes wider,
and what was fitted before the panels had their final width does not fit any more.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QMainWindow, QWidget

if TYPE_CHECKING:
    from napari import Viewer

Camera = tuple[float, ...]


class ViewAnchor:
    """Follows the size of the canvas of a viewer.

    A view that was fitted, and that nobody changed since, is fitted again. Any other one keeps its zoom, and each
    voxel keeps its place in the window; if the window itself changes its size, the centre of the canvas keeps its
    voxel, as napari does it. Views in 3D are left to napari.
    """

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = viewer
        self._window: QMainWindow | None = None
        self._canvas: QWidget | None = None
        self._fitted: Camera | None = None
        self._centre = np.zeros(2)
        self._window_size = (0, 0)

    def attach(self, window: QMainWindow, canvas: QWidget) -> None:
        """Follow the canvas of a window from now on."""
        self._window, self._canvas = window, canvas
        self._remember_place()
        self._remember_fit()
        self._viewer.events.reset_view.connect(self._remember_fit)
        self._viewer.canvas.events.size.connect(self._on_size)

    def close(self) -> None:
        """Leave all to napari again; a second call has no effect."""
        if self._canvas is not None:
            self._viewer.events.reset_view.disconnect(self._remember_fit)
            self._viewer.canvas.events.size.disconnect(self._on_size)
            self._window = self._canvas = None

    def _on_size(self, _event: object = None) -> None:
        before, size_before = self._centre, self._window_size
        self._remember_place()
        camera = self._viewer.scene.camera
        if self._viewer.dims.ndisplay != 2 or not len(self._viewer.layers):
            return
        if self._fitted is not None and np.allclose(self._fitted, self._read_camera()):
            self._viewer.reset_view()
        elif self._window_size == size_before:
            vertical, horizontal = camera.orientation2d
            signs = 1 if vertical == "down" else -1, 1 if horizontal == "right" else -1
            y, x = np.asarray(camera.center[-2:]) + (self._centre - before) * signs / camera.zoom
            camera.center = (*camera.center[:-2], float(y), float(x))

    def _remember_fit(self, _event: object = None) -> None:
        self._fitted = self._read_camera()

    def _read_camera(self) -> Camera:
        camera = self._viewer.scene.camera
        return (*camera.center[-2:], camera.zoom)

    def _remember_place(self) -> None:
        if self._window is not None and self._canvas is not None:
            self._centre = _find_centre(self._canvas, self._window, self._viewer.canvas.size)
            self._window_size = self._window.width(), self._window.height()


def _find_centre(canvas: QWidget, window: QMainWindow, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the centre of the canvas in the window, in pixels from its upper left corner: down, right."""
    corner = canvas.mapTo(window, QPoint(0, 0))
    return np.array([corner.y() + size[0] / 2, corner.x() + size[1] / 2])
