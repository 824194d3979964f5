import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.plugin.guidance import key_above_tab
from napari_medseg.plugin.guidance.key_above_tab import KeyAboveTab

NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.mark.parametrize(
    ("key", "code", "modifiers", "n_calls"),
    [
        (Qt.Key.Key_Dead_Circumflex, 49, NONE, 1),  # German
        (Qt.Key.Key_section, 49, NONE, 1),  # Swiss
        (Qt.Key.Key_QuoteLeft, 49, NONE, 0),  # American: napari knows it
        (Qt.Key.Key_Dead_Circumflex, 49, SHIFT, 0),
        (Qt.Key.Key_1, 10, NONE, 0),
    ],
)
def test_the_key_is_known_by_its_place(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, key: Qt.Key, code: int, modifiers: Qt.KeyboardModifier, n_calls: int
) -> None:
    monkeypatch.setattr(key_above_tab.sys, "platform", "linux")
    calls: list[int] = []
    widget = QWidget()
    qtbot.addWidget(widget)
    watcher = KeyAboveTab(lambda: calls.append(1))
    watcher.watch([widget])
    for is_repeat in (False, True):
        event = QKeyEvent(QEvent.Type.KeyPress, key, modifiers, code, 0, 0, "", is_repeat)
        QApplication.sendEvent(widget, event)
    assert len(calls) == n_calls
    watcher.close()
    QApplication.sendEvent(widget, QKeyEvent(QEvent.Type.KeyPress, key, modifiers, code, 0, 0))
    assert len(calls) == n_calls
