"""Shift and a key of the upper row, as keyboards of several countries send it."""

import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent

from napari_medseg.plugin.correction import shifted_keys
from napari_medseg.plugin.correction.shifted_keys import ShiftedKeys, find_key_name

KEY, SHIFT, NONE = Qt.Key, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.NoModifier


def make_event(
    key: int, modifiers: Qt.KeyboardModifier = SHIFT, scan_code: int = 0, kind: QEvent.Type = QEvent.Type.KeyPress
) -> QKeyEvent:
    return QKeyEvent(kind, key, modifiers, scan_code, 0, 0)


@pytest.mark.parametrize(("key", "scan_code", "name"), [
    (KEY.Key_Exclam, 10, "Shift-1"),  # United States
    (KEY.Key_Plus, 10, "Shift-1"),  # Switzerland
    (KEY.Key_1, 10, "Shift-1"),  # France
    (KEY.Key_ParenLeft, 18, "Shift-9"),
    (KEY.Key_Plus, 21, "Shift-="),
    (KEY.Key_Asterisk, 35, "Shift-="),  # Germany: its plus has a key of its own
    (KEY.Key_Underscore, 61, "Shift--"),  # and so has its minus
    (KEY.Key_Underscore, 20, "Shift--"),
    (KEY.Key_1, 0, "Shift-1"),  # sent by a program
    (KEY.Key_Exclam, 0, "Shift-1"),
    (KEY.Key_A, 38, ""),
    (KEY.Key_BracketRight, 0, ""),
])  # fmt: skip
def test_a_key_is_known_on_every_layout(
    key: Qt.Key, scan_code: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shifted_keys.sys, "platform", "linux")
    assert find_key_name(make_event(key, scan_code=scan_code)) == name


def test_tab_is_named_with_and_without_shift() -> None:
    assert find_key_name(make_event(KEY.Key_Tab, NONE)) == "Tab"
    assert find_key_name(make_event(KEY.Key_Backtab, SHIFT)) == "Shift-Tab"
    assert find_key_name(make_event(KEY.Key_Tab, Qt.KeyboardModifier.ControlModifier)) == ""
    assert find_key_name(make_event(KEY.Key_1, NONE)) == ""


def test_a_key_is_held_until_it_is_released_though_shift_is_up_by_then() -> None:
    done = []

    def hold():  # noqa: ANN202
        done.append("pressed")
        yield
        done.append("released")

    keys = ShiftedKeys({"Shift-1": hold}, lambda: done.append("lost"))
    assert keys.eventFilter(None, make_event(KEY.Key_Exclam, scan_code=10))
    assert not keys.eventFilter(None, make_event(KEY.Key_A, NONE))
    assert keys.eventFilter(None, make_event(KEY.Key_1, NONE, 10, QEvent.Type.KeyRelease))
    assert done == ["pressed", "released"]
    keys.eventFilter(None, make_event(KEY.Key_Exclam, scan_code=10))
    keys.eventFilter(None, QEvent(QEvent.Type.WindowDeactivate))
    assert done == ["pressed", "released", "pressed", "lost"]
    assert not keys.eventFilter(None, make_event(KEY.Key_1, NONE, 10, QEvent.Type.KeyRelease))
