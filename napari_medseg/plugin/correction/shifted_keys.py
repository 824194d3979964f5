"""Shift with a digit, "=" or "-", and Tab, on every keyboard layout: napari knows no name for "!" or "+".

Qt reports the character that the layout makes of Shift and the key: "!" for Shift+1 on an American keyboard, "+" on a
Swiss one. So the key is known by its place on the keyboard, where the system tells it, else by the character.
"""

import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent

from napari_medseg.plugin.widgets.key_watcher import KeyWatcher

Hold = Callable[[], Generator[None]]
_PLACES = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "-", "=")
_AMERICAN_SHIFTED = dict(zip("!@#$%^&*()_+", _PLACES, strict=True))
_MAC_KEYS = dict(zip((18, 19, 20, 21, 23, 22, 26, 28, 25, 29, 27, 24), _PLACES, strict=True))
_DIGITS = _PLACES[:9]
_SIGNS = {"-": "-", "_": "-", "=": "=", "+": "=", "*": "="}
_USED = (*_DIGITS, "-", "=")
_LINUX_FIRST, _WINDOWS_FIRST = 10, 2
"""Scan code of the key "1"; the next keys of its row follow in order."""


class ShiftedKeys(KeyWatcher):
    """Watches widgets for Shift and a key of the row of digits, and for Tab.

    Parameters
    ----------
    holds
        What to do for ``"Shift-1"`` to ``"Shift-9"``, ``"Shift-="``, ``"Shift--"``, ``"Tab"`` and ``"Shift-Tab"``:
        generator functions, whose first part runs when the key is pressed and whose second when it is released.
    on_lost
        Called when the window loses the keyboard: the release of a key will not be seen.
    """

    def __init__(self, holds: Mapping[str, Hold], on_lost: Callable[[], object]) -> None:
        super().__init__()
        self._on_lost = on_lost
        self._holds = dict(holds)
        self._held: dict[int, Generator[None]] = {}

    def close(self) -> None:
        """Let go of the widgets, and of keys that are held."""
        super().close()
        self._drop()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Handle our keys; other keys go on to napari."""
        match event.type():
            case QEvent.Type.KeyPress:
                return self._press(event)
            case QEvent.Type.KeyRelease:
                return self._release(event)
            case QEvent.Type.FocusOut | QEvent.Type.WindowDeactivate:
                self._drop()
                self._on_lost()
        return False

    def _press(self, event: Any) -> bool:  # noqa: ANN401 - Qt's own event
        name = find_key_name(event)
        if name not in self._holds:
            return False
        if not event.isAutoRepeat():
            held = self._holds[name]()
            next(held, None)
            self._held[_identify(event)] = held
        return True

    def _release(self, event: Any) -> bool:  # noqa: ANN401 - Qt's own event
        if _identify(event) not in self._held:
            return False
        if not event.isAutoRepeat():
            next(self._held.pop(_identify(event)), None)
        return True

    def _drop(self) -> None:
        for held in self._held.values():
            held.close()
        self._held = {}


def find_key_name(event: QKeyEvent) -> str:
    """Return the name of a key with Shift, or of Tab, such as ``"Shift-1"``; empty for other keys."""
    modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    if event.key() in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
        plain = modifiers & ~Qt.KeyboardModifier.ShiftModifier == Qt.KeyboardModifier.NoModifier
        is_back = event.key() == Qt.Key.Key_Backtab or bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
        return ("Shift-Tab" if is_back else "Tab") if plain else ""
    if modifiers != Qt.KeyboardModifier.ShiftModifier:
        return ""
    place = _find_place(event)
    return f"Shift-{place}" if place else ""


def _find_place(event: QKeyEvent) -> str:
    """Return which of the keys 1 to 9, "-" and "=" it is; empty for another key.

    A digit is known by its place, "-" and "=" by what is printed on them: on a German keyboard the plus has a key of
    its own, whose character with Shift is the asterisk.
    """
    character = chr(event.key()) if 32 < event.key() < 127 else ""
    if not event.nativeScanCode():  # made by a program
        place = _AMERICAN_SHIFTED.get(character, character)
        return place if place in _USED else ""
    place = _find_key_in_upper_row(event)
    if place in _DIGITS:
        return place
    return _SIGNS.get(character, place if place in _USED else "")


def _find_key_in_upper_row(event: QKeyEvent) -> str:
    """Return what the key writes on an American keyboard; empty for a key elsewhere."""
    if sys.platform == "darwin":
        return _MAC_KEYS.get(event.nativeVirtualKey(), "")
    place = event.nativeScanCode() - (_WINDOWS_FIRST if sys.platform == "win32" else _LINUX_FIRST)
    return _PLACES[place] if 0 <= place < len(_PLACES) else ""


def _identify(event: QKeyEvent) -> int:
    """Return a number of the key that is the same when it is released, though Shift may be up by then."""
    number = event.nativeVirtualKey() if sys.platform == "darwin" else event.nativeScanCode()
    return int(number) or int(event.key())
