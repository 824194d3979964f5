"""The canvas is drawn in a turn of its own after a case was shown."""

from types import SimpleNamespace

from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.views.drawing_turn import DrawingTurn


def test_the_canvas_waits_for_one_turn_and_never_stays_held(window: SimpleNamespace, qtbot: QtBot) -> None:
    turn, canvas = DrawingTurn(window.case_controller), QWidget()
    qtbot.addWidget(canvas)
    window.case_controller.opened.emit()
    assert canvas.updatesEnabled(), "there is no canvas yet"
    turn.attach(canvas)
    window.case_controller.opened.emit()
    assert not canvas.updatesEnabled()
    qtbot.waitUntil(canvas.updatesEnabled)
    window.case_controller.state_changed.emit()
    assert not canvas.updatesEnabled(), "the labels of the open case arrived"
    window.case_controller.opened.emit()
    turn.close()
    assert canvas.updatesEnabled()
    window.case_controller.opened.emit()
    assert canvas.updatesEnabled(), "nothing is held after the end"
