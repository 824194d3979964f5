"""Tab, the key above it, and the threshold by real keys and a real mouse in napari's window, on a volume."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_phantoms import PhantomEngine, phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_medseg.core import formats
from napari_medseg.plugin.main_widget import CloseChoice, MedSegWidget
from napari_medseg.workflow.workspace import Workspace

pytestmark = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen" or (sys.platform == "linux" and not os.environ.get("DISPLAY")),
    reason="needs a display with OpenGL: xvfb-run",
)
EDGE = (slice(1, 4), slice(20, 30), slice(22, 26))
ON_SLICE = (2, *EDGE[1:])


def test_places_threshold_and_proposals_by_keys(
    make_napari_viewer: Callable[..., Any], ws: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    assert isinstance(ws.engine, PhantomEngine)
    ws.engine.doubtful = [EDGE]
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    widget = MedSegWidget(viewer, ws, ask=lambda _: CloseChoice.LEAVE_RUNNING)
    viewer.window.add_dock_widget(widget, name="MedSeg")
    qtbot.waitUntil(widget.isVisible)
    try:
        formats.write_image(tmp_path / "volume.tif", phantom(0, n_slices=5))
        widget.dock.worklist.importer.read([tmp_path / "volume.tif"])
        qtbot.waitUntil(lambda: not widget.dock.guidance.maps.why_not)
        _use_keys(viewer, widget.dock, qtbot)
    finally:
        widget.close_down()


def _use_keys(viewer: Any, dock: Any, qtbot: QtBot) -> None:
    current = dock.case_controller.current
    layer, canvas = current.labels_layer, viewer.window._qt_viewer.canvas.native
    viewer.layers.selection.active = layer
    message, draft = dock.correction.row.message, current.edit_session.draft
    canvas.setFocus()
    QTest.keyClick(canvas, Qt.Key.Key_Tab)
    assert message.text().startswith("place 1 of 1, right lung: ")
    assert canvas.window().focusWidget() is canvas, "Tab leaves the keyboard with the canvas"
    QTest.keyClick(canvas, Qt.Key.Key_QuoteLeft)
    assert draft.edited_indices.size == 120
    dock.case_controller.undo()
    assert draft.edited_indices.size == 0
    QTest.keyClick(canvas, Qt.Key.Key_Backtab, Qt.KeyboardModifier.ShiftModifier)
    assert message.text().startswith("place 1 of 1")
    viewer.dims.set_current_step(0, 2)
    QApplication.processEvents()
    layer_place = [(side.start + side.stop - 1) / 2 for side in EDGE]
    viewer.camera.center = layer.data_to_world(layer_place)  # Tab left the view as it was: the place was seen well
    _move_to_the_middle(canvas)
    for _ in range(2):
        QTest.keyClick(canvas, Qt.Key.Key_Comma)
    assert message.text() == "right lung at threshold 0.70: −40 px"
    assert not layer.data[ON_SLICE].any()
    qtbot.waitUntil(lambda: len(dock.guidance.proposals.pending) == 2)
    QTest.keyClick(canvas, Qt.Key.Key_Tab)
    plane = dock.guidance.editor.find_plane()
    QTest.keyClick(canvas, Qt.Key.Key_QuoteLeft)
    assert np.count_nonzero(layer.data[plane][EDGE[1:]] == 0) > 20


def _move_to_the_middle(canvas: Any) -> None:
    QTest.qWait(20)
    pos = QPointF(canvas.rect().center())
    no_button = Qt.MouseButton.NoButton
    event = QMouseEvent(
        QMouseEvent.Type.MouseMove,
        pos,
        QPointF(canvas.mapToGlobal(pos.toPoint())),
        no_button,
        no_button,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(canvas, event)
    QTest.qWait(20)
