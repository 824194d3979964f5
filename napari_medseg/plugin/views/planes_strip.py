"""The coronal and the sagittal slice at the mouse, with the labels; a click goes there."""

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.views.plane_slices import (
    LabelLook,
    Plane,
    choose_steps,
    cut_plane,
    draw_plane,
)
from napari_medseg.plugin.views.plane_view import PlaneView
from napari_medseg.plugin.views.stack_axis import find_stack_axis

if TYPE_CHECKING:
    from napari import Viewer

REFRESH_AFTER_MS = 50
MAX_SHARE_OF_TIME = 0.2
"""If drawing takes long, it happens so rarely that it uses at most this share of the window's time."""

Place = tuple[int, int, int]


class PlanesStrip(QWidget):
    """Two planes through the open series at the place of the mouse: coronal on the left, sagittal on the right.

    It draws only while it is seen, a moment after the last change, so that strokes are not slowed down.

    Parameters
    ----------
    viewer, case_controller, display_window
        The window, the controller of the open case, and its grey values.
    """

    def __init__(
        self,
        viewer: "Viewer",
        case_controller: CaseController,
        display_window: DisplayWindow,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._case_controller = case_controller
        self._display_window = display_window
        self._focus: Place | None = None
        self._views = {
            Plane.CORONAL: PlaneView("coronal", ("R", "L")),
            Plane.SAGITTAL: PlaneView("sagittal", ("A", "P")),
        }
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for plane, view in self._views.items():
            layout.addWidget(view)
            view.pointed.connect(lambda across, down, plane=plane: self._go_to(plane, across, down))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_AFTER_MS)
        self._timer.timeout.connect(self.refresh)
        viewer.cursor.events.position.connect(self._on_cursor)
        viewer.dims.events.current_step.connect(self._on_slice)
        case_controller.opened.connect(self._on_opened)
        case_controller.labels_changed.connect(self._schedule)
        display_window.changed.connect(self._schedule)

    @property
    def focus(self) -> Place | None:
        """The voxel (z, y, x) at which the planes cross; `None` without a series."""
        return self._focus

    @property
    def has_series(self) -> bool:
        """Whether the open image has planes across its slices, and not times or photographs there."""
        current = self._case_controller.current
        is_stack = current is not None and len(current.image.spatial_axes) == len("ZYX")
        return current is not None and is_stack and find_stack_axis(current.image) == "z"

    def close_down(self) -> None:
        """Disconnect from the viewer."""
        self._viewer.cursor.events.position.disconnect(self._on_cursor)
        self._viewer.dims.events.current_step.disconnect(self._on_slice)
        if isalive(self._timer):  # else Qt deleted it with the window
            self._timer.stop()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw when the strip is shown."""
        super().showEvent(event)
        self._schedule()

    def refresh(self) -> None:
        """Draw both planes now, if they are seen."""
        current = self._case_controller.current
        if not self.isVisible():
            return
        if current is None or not self.has_series or self._focus is None:
            for view in self._views.values():
                view.clear()
            return
        began = time.perf_counter()
        for plane in Plane:
            self._draw(current, plane, self._focus)
        took_ms = (time.perf_counter() - began) * 1000
        self._timer.setInterval(max(REFRESH_AFTER_MS, round(took_ms / MAX_SHARE_OF_TIME)))

    def _draw(self, current: OpenCase, plane: Plane, focus: Place) -> None:
        image, view, layer = current.image, self._views[plane], current.labels_layer
        shape = image.spatial_shape
        steps = choose_steps(shape, plane, (view.width(), view.height()))
        limits = self._display_window.limits or (0.0, 255.0)
        values, labels, look = cut_plane(image.pixels, plane, focus[plane], steps), None, None
        if layer is not None and layer.visible and layer.data.shape == shape:
            labels = cut_plane(np.asarray(layer.data), plane, focus[plane], steps)
            look = LabelLook(layer.colormap, float(layer.opacity))
        picture = draw_plane(values, limits, labels, look)
        spacing = image.spacing_mm or (1.0, 1.0, 1.0)
        column = plane.column_axis
        view.show_picture(
            picture,
            (shape[column] * spacing[column], shape[0] * spacing[0]),
            shows_sides=image.affine is not None,
        )
        view.set_cross((focus[column] + 0.5) / shape[column], 1 - (focus[0] + 0.5) / shape[0])

    def _on_opened(self) -> None:
        current = self._case_controller.current
        self._focus = None
        if current is not None and self.has_series:
            _, height, width = current.image.spatial_shape
            self._focus = (self._get_slice(current), height // 2, width // 2)
        self._schedule()

    def _on_cursor(self, _event: object = None) -> None:
        current = self._case_controller.current
        if current is None or self._focus is None or not self.isVisible():
            return
        _, y, x = np.rint(current.image_layer.world_to_data(self._viewer.cursor.position[-3:])).astype(int)
        _, height, width = current.image.spatial_shape
        if 0 <= y < height and 0 <= x < width:
            self._focus = (self._get_slice(current), int(y), int(x))
            self._schedule()

    def _on_slice(self, _event: object = None) -> None:
        current = self._case_controller.current
        if current is not None and self._focus is not None and self.has_series:
            self._focus = (self._get_slice(current), *self._focus[1:])
            self._schedule()

    def _get_slice(self, current: OpenCase) -> int:
        at = round(float(current.image_layer.world_to_data(self._viewer.dims.point[-3:])[0]))
        return min(max(at, 0), current.image.spatial_shape[0] - 1)

    def _go_to(self, plane: Plane, across: float, down: float) -> None:
        """Show the slice of a click, and move the view only if its place cannot be seen."""
        current = self._case_controller.current
        if current is None or self._focus is None:
            return
        shape, column = current.image.spatial_shape, plane.column_axis
        place = list(self._focus)
        place[0] = min(int((1 - down) * shape[0]), shape[0] - 1)
        place[column] = min(int(across * shape[column]), shape[column] - 1)
        layer = current.image_layer
        world = layer.data_to_world(tuple(place))
        self._viewer.dims.set_point(self._viewer.dims.ndim - len(shape), world[0])
        self._focus = (place[0], place[1], place[2])
        (top, left), (bottom, right) = (corner[-2:] for corner in np.asarray(layer.corner_pixels)[:, :3])
        if not (top <= place[1] <= bottom and left <= place[2] <= right):
            self._viewer.scene.camera.center = (self._viewer.scene.camera.center[0], world[1], world[2])
        self.refresh()

    def _schedule(self) -> None:
        if self.isVisible() and not self._timer.isActive():
            self._timer.start()
