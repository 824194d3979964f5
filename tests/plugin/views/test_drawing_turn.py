"""The canvas is drawn in a turn of its own after a case was shown."""

from types import SimpleNamespace

from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.views.drawing_turn import DrawingTurn
from napari_medseg.workflow.cases import add_cases


def test_the_canvas_waits_for_one_turn_and_never_stays_held(window: SimpleNamespace, qtbot: QtBot) -> None:
    turn, canvas, desk = DrawingTurn(window.viewer, window.case_controller), QWidget(), window.case_controller
    qtbot.addWidget(canvas)
    window.worklist.set_predicts_automatically(False)
    images = [phantom(number) for number in range(3)]
    first, second, third = add_cases(window.ws, images, "lungs")
    desk.open(first, images[0])
    assert canvas.updatesEnabled(), "there is no canvas yet"
    turn.attach(canvas)
    desk.open(second, images[1])
    assert not canvas.updatesEnabled()
    qtbot.waitUntil(canvas.updatesEnabled)
    desk.show_prediction(None)
    assert not canvas.updatesEnabled(), "the first labels of the open case"
    qtbot.waitUntil(canvas.updatesEnabled)
    desk.current.labels_layer.paint((2, 2), 1)
    assert canvas.updatesEnabled(), "strokes are drawn at once"
    seen: list[bool] = []
    window.viewer.layers.events.inserted.connect(lambda: seen.append(canvas.updatesEnabled()), position="first")
    window.viewer.add_points(name="another plugin's")
    assert seen == [False], "napari still adds the layer"
    qtbot.waitUntil(canvas.updatesEnabled)
    desk.open(third, images[2])
    turn.close()
    assert canvas.updatesEnabled()
    desk.open(first, images[0])
    assert canvas.updatesEnabled(), "nothing is held after the end"
