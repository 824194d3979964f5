"""Digits and letters on every keyboard layout: napari knows the keys of an American one only.

A French keyboard writes "&" where an American one has the 1, and its 1 needs Shift, which is another command. A
Russian, Greek or Hebrew one writes no Latin letter at all. Such keys are known by their place, where the system tells
it.
"""

import sys

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.plugin.widgets.key_watcher import KeyWatcher

HANDLED = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
_DIGITS = "123456789"
_LAST_LATIN = 0x24F
"""Last letter of the Latin script in Unicode, whose numbers Qt uses for keys that write a character."""
_FIRST_WITHOUT_CHARACTER = 0x0100_0000
_SIGNS_OF_SCRIPTS = {("Q", ord("/")), ("W", ord("'")), ("Q", ord(";"))}
"""Signs at the place of a letter: on Hebrew keyboards two, on Greek ones one."""
_ROWS = (_DIGITS, "QWERTYUIOP[]", "ASDFGHJKL", "ZXCVBNM,.")
_LINUX_STARTS, _WINDOWS_STARTS = (10, 24, 38, 52), (2, 16, 30, 44)
_MAC_KEYS = (
    (18, 19, 20, 21, 23, 22, 26, 28, 25),
    (12, 13, 14, 15, 17, 16, 32, 34, 31, 35, 33, 30),
    (0, 1, 2, 3, 5, 4, 38, 40, 37),
    (6, 7, 8, 9, 11, 45, 46, 43, 47),
)


class AmericanKeys(KeyWatcher):
    """Gives watched widgets the key of an American keyboard in place of one that napari does not know."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Replace such a key by the one at its place; others go on to napari."""
        if event.type() not in HANDLED or not isinstance(event, QKeyEvent) or not isinstance(watched, QWidget):
            return False
        key = find_american_key(event)
        if key is None:
            return False
        QApplication.sendEvent(watched, make_key_event(event, key))
        return True


def make_key_event(event: QKeyEvent, key: int) -> QKeyEvent:
    """Return a copy of an event with another key; it has no place, so it is not replaced again."""
    return QKeyEvent(event.type(), key, event.modifiers(), event.text(), event.isAutoRepeat())


def find_american_key(event: QKeyEvent) -> int | None:
    """Return the key at this place on an American keyboard, if this one writes something that napari does not know.

    That is a digit from 1 to 9 without Shift, or any letter, bracket, comma or full stop on a keyboard of another
    script; `None` for other keys.
    """
    brackets = (Qt.Key.Key_BracketLeft, Qt.Key.Key_BracketRight)
    if event.modifiers() & Qt.KeyboardModifier.GroupSwitchModifier or event.key() in brackets:
        return None  # AltGr writes another character, such as a German bracket, which is a key of napari
    place = _find_place(event)
    if not place:
        return None
    if place in _DIGITS:
        is_plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        return ord(place) if is_plain and not Qt.Key.Key_0 <= event.key() <= Qt.Key.Key_9 else None
    is_sign = (place, event.key()) in _SIGNS_OF_SCRIPTS
    return ord(place) if is_sign or _LAST_LATIN < event.key() < _FIRST_WITHOUT_CHARACTER else None


def _find_place(event: QKeyEvent) -> str:
    """Return what the key writes on an American keyboard; empty for a key elsewhere, or one made by a program."""
    if sys.platform == "darwin":
        keys = zip(_MAC_KEYS, _ROWS, strict=True)
        code = event.nativeVirtualKey()
        return next((row[codes.index(code)] for codes, row in keys if code in codes), "")
    starts = _WINDOWS_STARTS if sys.platform == "win32" else _LINUX_STARTS
    places = ((event.nativeScanCode() - start, row) for start, row in zip(starts, _ROWS, strict=True))
    return next((row[place] for place, row in places if 0 <= place < len(row)), "")
