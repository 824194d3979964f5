"""The canvas is drawn in a turn of its own after a case was shown."""

from types import SimpleNamespace

from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.views.drawing_turn import DrawingTurn
from napari_medseg.workflow.cases import add_cases


class Canvas(QWidget):
    n_painted = 0

    def paintEvent(self, event: QPaintEvent) -> None:
        self.n_painted += 1


def test_the_canvas_waits_for_one_turn_and_never_stays_held(window: SimpleNamespace, qtbot: QtBot) -> None:
    canvas, desk = Canvas(), window.case_controller
    turn = DrawingTurn(window.viewer, desk)
    qtbot.addWidget(canvas)
    canvas.show()
    qtbot.waitExposed(canvas)
    window.worklist.set_predicts_automatically(False)
    images = [phantom(number) for number in range(3)]
    first, second, third = add_cases(window.ws, images, "lungs")
    desk.open(first, images[0])
    assert not turn.is_held, "there is no canvas yet"
    turn.attach(canvas)
    canvas.repaint()
    n_painted = canvas.n_painted
    desk.open(second, images[1])
    canvas.repaint()
    assert canvas.n_painted == n_painted
    assert canvas.updatesEnabled(), "else Qt paints its background over its picture"
    qtbot.waitUntil(lambda: canvas.n_painted > n_painted)
    desk.show_prediction(None)
    assert turn.is_held, "the first labels of the open case"
    qtbot.waitUntil(lambda: not turn.is_held)
    desk.current.labels_layer.paint((2, 2), 1)
    assert not turn.is_held, "strokes are drawn at once"
    seen: list[bool] = []
    window.viewer.layers.events.inserted.connect(lambda: seen.append(turn.is_held), position="first")
    window.viewer.add_points(name="another plugin's")
    assert seen == [True], "napari still adds the layer"
    qtbot.waitUntil(lambda: not turn.is_held)
    desk.open(third, images[2])
    turn.close()
    assert not turn.is_held
    desk.open(first, images[0])
    assert not turn.is_held, "nothing is held after the end"
    n_painted = canvas.n_painted
    canvas.repaint()
    assert canvas.n_painted > n_painted
