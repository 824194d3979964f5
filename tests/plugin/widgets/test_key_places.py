"""Keys as keyboards of several countries send them, with the places of an X server."""

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.plugin.widgets import key_places
from napari_medseg.plugin.widgets.key_forwarder import find_letter
from napari_medseg.plugin.widgets.key_places import AmericanKeys, find_american_key

KEY, NONE, SHIFT = Qt.Key, Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CONTROL, KEYPAD = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.KeypadModifier
ALT_GR = Qt.KeyboardModifier.GroupSwitchModifier
CYRILLIC_IE, GREEK_ALPHA, HEBREW_QOF = 0x415, 0x391, 0x5E7


def make_event(
    key: int, code: int, modifiers: Qt.KeyboardModifier = NONE, kind: QEvent.Type = QEvent.Type.KeyPress
) -> QKeyEvent:
    return QKeyEvent(kind, key, modifiers, code, code, 0, "")


@pytest.mark.parametrize(("platform", "key", "code", "modifiers", "expected"), [
    ("linux", KEY.Key_Ampersand, 10, NONE, KEY.Key_1),  # France
    ("linux", KEY.Key_Eacute, 11, NONE, KEY.Key_2),
    ("linux", KEY.Key_Plus, 10, NONE, KEY.Key_1),  # Czechia
    ("linux", KEY.Key_1, 10, NONE, None),
    ("linux", KEY.Key_1, 10, SHIFT, None),  # France: Shift with a digit is a command of its own
    ("linux", KEY.Key_1, 87, KEYPAD, None),
    ("linux", CYRILLIC_IE, 28, NONE, KEY.Key_T),
    ("linux", 0x424, 38, SHIFT, KEY.Key_A),
    ("linux", 0x42F, 52, CONTROL, KEY.Key_Z),
    ("linux", 0x425, 34, NONE, KEY.Key_BracketLeft),
    ("linux", GREEK_ALPHA, 38, NONE, KEY.Key_A),
    ("linux", HEBREW_QOF, 26, NONE, KEY.Key_E),
    ("linux", KEY.Key_Slash, 24, NONE, KEY.Key_Q),  # Israel
    ("linux", KEY.Key_Semicolon, 24, NONE, KEY.Key_Q),  # Greece
    ("linux", KEY.Key_Slash, 61, NONE, None),
    ("linux", KEY.Key_Udiaeresis, 34, NONE, None),  # Germany
    ("linux", 0x20AC, 26, ALT_GR, None),  # its AltGr+E is the euro sign
    ("linux", KEY.Key_BracketLeft, 17, NONE, None),  # and its AltGr+8 a bracket, which Wayland tells without AltGr
    ("linux", KEY.Key_A, 24, NONE, None),  # France: its letters are known by what they write
    ("linux", KEY.Key_Shift, 50, SHIFT, None),
    ("linux", CYRILLIC_IE, 0, NONE, None),  # sent by a program
    ("win32", KEY.Key_Ampersand, 2, NONE, KEY.Key_1),
    ("win32", 0x424, 30, NONE, KEY.Key_A),
    ("darwin", KEY.Key_Ampersand, 18, NONE, KEY.Key_1),
    ("darwin", 0x424, 0, NONE, KEY.Key_A),
])  # fmt: skip
def test_a_key_that_napari_does_not_know_is_known_by_its_place(
    platform: str,
    key: int,
    code: int,
    modifiers: Qt.KeyboardModifier,
    expected: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_places.sys, "platform", platform)
    assert find_american_key(make_event(key, code, modifiers)) == expected


def test_a_letter_of_another_script_passes_from_a_number_field_to_the_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_places.sys, "platform", "linux")
    assert find_letter(make_event(0x424, 38)) == KEY.Key_A
    assert find_letter(make_event(KEY.Key_A, 24)) == KEY.Key_A
    assert find_letter(make_event(0x42F, 52, CONTROL)) is None
    assert find_letter(make_event(KEY.Key_Ampersand, 10)) is None


def test_the_canvas_gets_the_replaced_key_when_pressed_and_released(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_places.sys, "platform", "linux")
    got: list[tuple[QEvent.Type, int]] = []

    class Canvas(QWidget):
        def keyPressEvent(self, event: QKeyEvent) -> None:
            got.append((event.type(), event.key()))

        keyReleaseEvent = keyPressEvent

    canvas, keys = Canvas(), AmericanKeys()
    qtbot.addWidget(canvas)
    keys.watch([canvas])
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        QApplication.sendEvent(canvas, make_event(KEY.Key_Eacute, 11, kind=kind))
    QApplication.sendEvent(canvas, make_event(KEY.Key_A, 24))
    keys.close()
    QApplication.sendEvent(canvas, make_event(KEY.Key_Eacute, 11))
    press, release = QEvent.Type.KeyPress, QEvent.Type.KeyRelease
    assert got == [(press, KEY.Key_2), (release, KEY.Key_2), (press, KEY.Key_A), (press, KEY.Key_Eacute)]
