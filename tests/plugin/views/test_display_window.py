"""Window and level of the open image: keys, combo box and middle button; kept for the task, without leaving a tool."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.display_windows import PRESETS
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.views.window_drag import WindowDrag
from napari_medseg.plugin.views.window_selector import WindowSelector
from napari_medseg.workflow import cases
from napari_medseg.workflow.preferences import read_preferences

NO_BUTTON, LEFT, MIDDLE = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton


def ct(number: int) -> Image:
    """A slice in HU."""
    image = phantom(number)
    return replace(image, pixels=image.pixels.astype(np.int16) * 8 - 1000, units="HU", modality="CT")


@pytest.fixture
def show(window: SimpleNamespace, qtbot: QtBot) -> Callable[[Image], None]:
    """Open an image as a case of the lungs."""

    def open_image(image: Image) -> None:
        (case,) = cases.add_cases(window.ws, [image], "lungs", force=True)
        window.worklist.predicts_automatically = False
        window.case_controller.open(case, image)
        qtbot.waitUntil(lambda: window.case_controller.current is not None)
        qtbot.waitUntil(lambda: window.case_controller.current.case.id == case.id)

    return open_image


def test_a_preset_shows_hu_and_comes_back_with_the_next_case_and_the_next_start(
    window: SimpleNamespace, show: Callable[[Image], None]
) -> None:
    chooser = DisplayWindow(window.case_controller, window.ws)
    assert chooser.show_preset("lung") == "open a case first"
    show(ct(1))
    assert chooser.preset == "lung", "the window of the task"
    assert chooser.show_preset("mediastinum") == ""
    layer = window.case_controller.current.image_layer
    assert tuple(layer.contrast_limits) == (-125, 225)
    show(ct(2))
    assert tuple(window.case_controller.current.image_layer.contrast_limits) == (-125, 225)
    chooser.close()
    assert read_preferences(window.ws.registry).display_windows == {"lungs HU": "mediastinum"}
    again = DisplayWindow(window.case_controller, window.ws)
    show(ct(3))
    assert (again.preset, again.limits) == ("mediastinum", (-125, 225))


def test_a_film_of_the_same_task_has_its_own_window(window: SimpleNamespace, show: Callable[[Image], None]) -> None:
    chooser = DisplayWindow(window.case_controller, window.ws)
    show(ct(1))
    chooser.show_preset("bone")
    show(phantom(2))
    assert (chooser.preset, chooser.limits) == ("full range", (0, 255))
    assert "is for a CT in HU" in chooser.show_preset("lung")
    assert chooser.limits == (0, 255)
    assert chooser.show_preset("automatic") == ""
    show(ct(1))
    assert chooser.preset == "bone"
    show(phantom(2))
    assert chooser.preset == "automatic"


def test_the_combo_box_greys_what_makes_no_sense_with_the_reason(
    window: SimpleNamespace, show: Callable[[Image], None], qtbot: QtBot
) -> None:
    chooser = DisplayWindow(window.case_controller, window.ws)
    selector = WindowSelector(chooser)
    qtbot.addWidget(selector)
    combo = selector._combo
    assert selector.isHidden()
    show(phantom(1))
    assert combo.currentText() == "full range"
    assert [combo.model().item(row).isEnabled() for row in range(len(PRESETS))] == [False, False, False, True, True]
    assert "CT in HU" in combo.model().item(0).toolTip()
    show(ct(2))
    combo.activated.emit(PRESETS.index("bone"))
    assert (chooser.preset, combo.currentText()) == ("bone", "bone")
    colours = replace(phantom(3), pixels=np.zeros((48, 64, 3), np.uint8), axes="YXC", units="rgb")
    (case,) = cases.add_cases(window.ws, [colours], "nuclei")
    window.case_controller.open(case, colours)
    assert selector.isHidden()
    assert "a colour image is shown as it is" in combo.toolTip()


def press(target: QWidget, kind: QEvent.Type, at: tuple[float, float], button: object, held: object) -> bool:
    event = QMouseEvent(kind, QPointF(*at), QPointF(*at), button, held, Qt.KeyboardModifier.NoModifier)
    return bool(QApplication.sendEvent(target, event))


def test_the_middle_button_drags_the_window_and_the_brush_stays(
    window: SimpleNamespace, show: Callable[[Image], None], qtbot: QtBot
) -> None:
    class Canvas(QWidget):
        seen: list[QEvent.Type] = []  # noqa: RUF012 -- one canvas in this test

        def event(self, event: QEvent) -> bool:
            if isinstance(event, QMouseEvent):
                self.seen.append(event.type())
            return super().event(event)

    chooser, canvas = DisplayWindow(window.case_controller, window.ws), Canvas()
    qtbot.addWidget(canvas)
    drag = WindowDrag(chooser)
    drag.watch([canvas])
    show(ct(1))
    window.case_controller.restart_review()
    labels = window.case_controller.current.labels_layer
    labels.mode = "paint"
    press(canvas, QEvent.Type.MouseButtonPress, (50, 50), MIDDLE, MIDDLE)
    press(canvas, QEvent.Type.MouseMove, (150, 50), NO_BUTTON, MIDDLE)
    low, high = chooser.limits
    assert high - low > 1500 * 1.6
    assert (low + high) / 2 == pytest.approx(-600)
    press(canvas, QEvent.Type.MouseMove, (50, 10), NO_BUTTON, MIDDLE)
    assert chooser.limits == pytest.approx((-1500, 0)), "the way is that from the start of the drag"
    press(canvas, QEvent.Type.MouseButtonRelease, (50, 10), MIDDLE, NO_BUTTON)
    assert canvas.seen == [], "napari's tools paint with any button"
    assert (chooser.preset, labels.mode, labels.data.any()) == ("", "paint", np.False_)
    show(ct(2))
    assert chooser.limits == pytest.approx((-1500, 0))
    press(canvas, QEvent.Type.MouseButtonPress, (50, 50), LEFT, LEFT)
    press(canvas, QEvent.Type.MouseButtonPress, (50, 50), MIDDLE, LEFT | MIDDLE)  # in the middle of a stroke
    press(canvas, QEvent.Type.MouseMove, (90, 90), NO_BUTTON, LEFT | MIDDLE)
    assert chooser.limits == pytest.approx((-1500, 0))
    assert canvas.seen == [QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove]
