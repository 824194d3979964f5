"""The key above Tab on every keyboard: it writes ` on an American one, and ^, § or another sign elsewhere."""

import sys
from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent

from napari_medseg.plugin.widgets.key_watcher import KeyWatcher

_LINUX, _WINDOWS, _MAC = 49, 41, 10
"""Its place on the keyboard; on macOS of an ISO keyboard, as it writes ` on an ANSI one."""


class KeyAboveTab(KeyWatcher):
    """Calls an action for this key without modifiers, unless it writes `, which napari knows by itself.

    Parameters
    ----------
    action
        What to do.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__()
        self._action = action

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Handle the key; others go on to napari."""
        if event.type() != QEvent.Type.KeyPress or not isinstance(event, QKeyEvent) or not is_key_above_tab(event):
            return False
        if not event.isAutoRepeat():
            self._action()
        return True


def is_key_above_tab(event: QKeyEvent) -> bool:
    """Whether a key event is of the key above Tab, alone, on a keyboard on which it does not write `."""
    if event.key() == Qt.Key.Key_QuoteLeft or event.modifiers() != Qt.KeyboardModifier.NoModifier:
        return False
    if sys.platform == "darwin":
        return event.nativeVirtualKey() == _MAC
    return event.nativeScanCode() == (_WINDOWS if sys.platform == "win32" else _LINUX)
