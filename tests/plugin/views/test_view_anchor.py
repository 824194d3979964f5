"""The image stays where it is on the screen when a panel changes its width; what was fitted is fitted again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_medseg.plugin.views.view_anchor import ViewAnchor


def test_a_fitted_image_fits_and_any_other_stays_in_its_place(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    canvas = window.findChildren(QOpenGLWidget)[0]
    anchor = ViewAnchor(viewer)
    anchor.attach(window, canvas)
    panels = {}
    for area in ("left", "right"):
        panels[area] = QWidget()
        viewer.window.add_dock_widget(panels[area], area=area)

    def change_width(area: str, width_px: int) -> None:
        before = viewer.canvas.size
        panels[area].setFixedWidth(width_px)
        qtbot.waitUntil(lambda: viewer.canvas.size != before)

    def locate(y: float, x: float) -> list[float]:
        """Where a voxel is in the window, in pixels."""
        corner, camera = canvas.mapTo(window, QPoint(0, 0)), viewer.scene.camera
        middle = np.array([corner.y(), corner.x()]) + np.array(viewer.canvas.size) / 2
        return (middle + (np.array([y, x]) - camera.center[-2:]) * camera.zoom).tolist()

    viewer.add_image(np.zeros((40, 90)))
    change_width("right", 420)
    fitted = viewer.scene.camera.zoom, viewer.scene.camera.center
    assert 90 * viewer.scene.camera.zoom < viewer.canvas.size[1]
    viewer.reset_view()
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == fitted

    viewer.scene.camera.zoom *= 3
    viewer.scene.camera.center = (0.0, 11.0, 22.0)
    zoom, place = viewer.scene.camera.zoom, locate(10, 20)
    change_width("right", 460)
    assert locate(10, 20) == pytest.approx(place, abs=1)
    assert viewer.scene.camera.zoom == pytest.approx(zoom)
    anchor.close()


def test_a_panel_on_either_side_leaves_the_image_and_a_larger_window_keeps_its_centre(qtbot: QtBot) -> None:
    viewer, window = ViewerModel(), QMainWindow()
    qtbot.addWidget(window)
    canvas = QWidget(window)

    def lay_out(width_px: int, x: int, y: int, *, window_px: int = 1200) -> None:
        window.resize(window_px, 700)
        canvas.setGeometry(x, y, width_px, 600)
        viewer.canvas.size = (600, width_px)

    anchor = ViewAnchor(viewer)
    lay_out(800, 100, 0)
    viewer.add_image(np.zeros((40, 90)))
    anchor.attach(window, canvas)
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0.0, 10.0, 20.0), 4.0
    lay_out(720, 100, 0)  # the right panel is wider by 80 pixels
    assert (camera.center, camera.zoom) == ((0.0, 10.0, 10.0), 4.0)
    lay_out(640, 180, 0)  # and the left one
    assert camera.center == (0.0, 10.0, 20.0)
    lay_out(840, 180, 0, window_px=1400)
    assert camera.center == (0.0, 10.0, 20.0)
    anchor.close()
    lay_out(700, 180, 0, window_px=1400)
    assert camera.center == (0.0, 10.0, 20.0)
