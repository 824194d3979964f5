"""The tools by a real mouse and real keys in napari's window: 600 nuclei of 16 bits, lungs on slices, the brushes."""

import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from correction_phantoms import FIRST_NUMBER, N_COLUMNS, N_NUCLEI, make_nuclei, open_predicted, stained
from plugin_phantoms import phantom, phantom_labels
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.plugin.main_widget import CloseChoice, MedSegWidget
from napari_medseg.plugin.views.plane_slices import Plane
from napari_medseg.workflow.workspace import Workspace

pytestmark = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen" or (sys.platform == "linux" and not os.environ.get("DISPLAY")),
    reason="needs a display with OpenGL: xvfb-run",
)
SHIFT, CTRL, NONE = (
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.NoModifier,
)
NEW = FIRST_NUMBER + N_NUCLEI
SECOND_ROW = FIRST_NUMBER + N_COLUMNS


class Canvas:
    """The canvas of a viewer: moves and presses at pixels of the labels."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.native: QWidget = viewer.window._qt_viewer.canvas.native

    def move(self, place: tuple[float, float], buttons: Qt.MouseButton = Qt.MouseButton.NoButton) -> None:
        self._send(QMouseEvent.Type.MouseMove, place, Qt.MouseButton.NoButton, buttons)

    def drag(self, *places: tuple[float, float]) -> None:
        left = Qt.MouseButton.LeftButton
        self.move(places[0])
        self._send(QMouseEvent.Type.MouseButtonPress, places[0], left, left)
        for place in places[1:]:
            self.move(place, left)
        self._send(QMouseEvent.Type.MouseButtonRelease, places[-1], left, Qt.MouseButton.NoButton)

    def key(self, key: Qt.Key, modifiers: Qt.KeyboardModifier = NONE) -> None:
        QTest.keyClick(self.native, key, modifiers)

    def _send(
        self, kind: QMouseEvent.Type, place: tuple[float, float], button: Qt.MouseButton, buttons: Qt.MouseButton
    ) -> None:
        QTest.qWait(12)  # vispy leaves out moves that come within 10 ms
        pos = QPointF(self._find(place))
        event = QMouseEvent(kind, pos, QPointF(self.native.mapToGlobal(pos.toPoint())), button, buttons, NONE)
        QApplication.sendEvent(self.native, event)

    def _find(self, place: tuple[float, float]) -> QPoint:
        layer, camera = self._viewer.layers.selection.active, self._viewer.camera
        y, x = layer.data_to_world((0,) * (layer.ndim - 2) + place)[-2:]
        return QPoint(
            round((x - camera.center[-1]) * camera.zoom + self.native.width() / 2),
            round((y - camera.center[-2]) * camera.zoom + self.native.height() / 2),
        )


def test_nuclei_and_lungs_are_corrected_by_mouse_and_keys(
    make_napari_viewer: Callable[..., Any], ws: Workspace, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    widget = MedSegWidget(viewer, ws, ask=lambda _: CloseChoice.LEAVE_RUNNING)
    viewer.window.add_dock_widget(widget, name="MedSeg")
    qtbot.waitUntil(widget.isVisible)
    try:
        _correct_nuclei(viewer, widget.dock, ws)
        _correct_lungs(viewer, widget.dock, ws)
        _use_brushes(viewer, widget.dock, ws, qtbot)
    finally:
        widget.close_down()


def _open(viewer: Any, dock: Any, ws: Workspace, *case: Any) -> Any:
    dock.worklist.set_predicts_automatically(False)
    open_predicted(SimpleNamespace(ws=ws, case_controller=dock.case_controller), *case)
    layer = dock.case_controller.current.labels_layer
    viewer.layers.selection.active = layer
    viewer.reset_view()
    for _ in range(3):  # the canvas gets its size, then draws with the new view
        QApplication.processEvents()
        viewer.window._qt_viewer.canvas.native.repaint()
    return layer


def _correct_nuclei(viewer: Any, dock: Any, ws: Workspace) -> None:
    labels = make_nuclei()
    layer, canvas = _open(viewer, dock, ws, stained(labels), "nuclei", labels), Canvas(viewer)
    message = dock.correction.row.message
    QTest.keyPress(canvas.native, Qt.Key.Key_N)
    canvas.drag((10, 15.5), (16, 15.5), (22, 15.5))
    QTest.keyRelease(canvas.native, Qt.Key.Key_N)
    assert message.text() == f"split nucleus {SECOND_ROW + 1} into {SECOND_ROW + 1} and {NEW}"
    assert dock.correction.mouse_tools.tool is None
    split = layer.data.copy()
    canvas.move((3, 3))
    canvas.key(Qt.Key.Key_E, SHIFT)
    assert message.text() == f"deleted nucleus {FIRST_NUMBER}: 64 px"
    canvas.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(layer.data, split)
    canvas.key(Qt.Key.Key_P)
    layer.brush_size = 2
    canvas.drag((9.5, 30), (9.5, 50))
    assert message.text().startswith(f"new nucleus {NEW + 1}: ")
    dock.correction.row._tools["join"].click()
    canvas.drag((15, 27), (15, 39))
    assert message.text() == f"joined nucleus {SECOND_ROW + 2} and {SECOND_ROW + 3} into {SECOND_ROW + 2}"
    for _ in range(3):
        canvas.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(layer.data, labels)


def _correct_lungs(viewer: Any, dock: Any, ws: Workspace) -> None:
    labels = phantom_labels(4)
    layer, canvas = _open(viewer, dock, ws, phantom(n_slices=4), "lungs", labels), Canvas(viewer)
    viewer.dims.set_current_step(0, 2)
    assert not dock.correction.row._tools["cut"].isVisible()
    canvas.move((20, 10))
    canvas.key(Qt.Key.Key_At, SHIFT)  # Shift+2 on an American keyboard
    assert dock.correction.row.message.text() == "right lung is now left lung: 560 px"
    assert [np.unique(plane).tolist() for plane in layer.data] == [[0, 1, 2], [0, 1, 2], [0, 2], [0, 1, 2]]
    canvas.key(Qt.Key.Key_I)
    viewer.dims.set_current_step(0, 0)
    canvas.key(Qt.Key.Key_E, SHIFT)
    # the piece reaches from slice 0 to 1, as it was renamed on slice 2
    assert [np.unique(plane).tolist() for plane in layer.data] == [[0, 2], [0, 2], [0, 2], [0, 1, 2]]
    canvas.key(Qt.Key.Key_Z, CTRL)
    canvas.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(layer.data, labels)


def _use_brushes(viewer: Any, dock: Any, ws: Workspace, qtbot: QtBot) -> None:
    """The smart brush fills what is dark, the border snaps to the edge; the planes below follow; all is undone."""
    truth = phantom_labels(4)
    labels = truth.copy()
    labels[3, 16:32, 20:26] = 0  # the model missed a part of the right lung, and the edge of the left one
    labels[3, :, 38:40] = 0
    layer, canvas = _open(viewer, dock, ws, phantom(1, n_slices=4), "lungs", labels), Canvas(viewer)
    viewer.dims.set_current_step(0, 3)
    dock.views.planes.checkbox.setChecked(True)
    message = dock.correction.row.message
    layer.selected_label, layer.brush_size = 1, 12
    canvas.key(Qt.Key.Key_Y)
    assert layer.cursor == "circle"
    canvas.drag((20, 20), (24, 22), (28, 22))
    assert message.text().startswith("painted ")
    assert " of right lung, " in message.text()
    painted = (layer.data[3] == 1) & (labels[3] == 0)
    assert painted[18:30, 20:26].mean() > 0.9
    assert not painted[truth[3] != 1].any(), "nothing bright was painted, though the brush reached it"
    sagittal = dock.views.planes.strip._views[Plane.SAGITTAL]
    qtbot.waitUntil(lambda: sagittal._pixels is not None)
    QTest.keyPress(canvas.native, Qt.Key.Key_H)
    canvas.drag((24, 40), (24, 39), (24, 38.5))
    QTest.keyRelease(canvas.native, Qt.Key.Key_H)
    assert "left lung" in message.text()
    assert (layer.data[3, 22:27, 38] == 2).all()
    assert not (layer.data[3, :, 36:38] == 2).any(), "it stops at the edge of the image"
    canvas.key(Qt.Key.Key_Z, CTRL)
    canvas.key(Qt.Key.Key_Z, CTRL)
    assert np.array_equal(layer.data, labels)
