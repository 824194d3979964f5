"""A press on a grey button is answered, whatever the button is."""

import pytest
from plugin_phantoms import Texts
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton

from napari_medseg.plugin.widgets import theme


@pytest.mark.parametrize("make", [theme.make_button, theme.make_tool_button])
def test_a_grey_button_that_is_pressed_says_why_it_is_grey(qtbot: QtBot, told: Texts, make: type) -> None:
    button: QAbstractButton = make("Accept", "Make these labels a correction")
    qtbot.addWidget(button)
    button.show()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert not len(told)
    theme.set_enabled(button, False, "", "There are no labels yet: predict, or paint")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert list(told) == ["There are no labels yet: predict, or paint."]


def test_a_double_click_presses_once(qtbot: QtBot) -> None:
    button, pressed = theme.make_button("Accept", "", main=True), list[bool]()
    qtbot.addWidget(button)
    button.show()
    button.clicked.connect(pressed.append)
    for click in (qtbot.mouseClick, qtbot.mouseDClick):  # as Qt sends a double click
        click(button, Qt.MouseButton.LeftButton)
    assert len(pressed) == 1
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert len(pressed) == 2
