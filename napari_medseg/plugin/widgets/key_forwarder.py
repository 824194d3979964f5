"""Single letters act wherever the keyboard is: a number field, a list of choices or a table has no use for them."""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QAbstractSpinBox, QApplication, QComboBox, QWidget

from napari_medseg.plugin.widgets.key_places import find_american_key, make_key_event
from napari_medseg.plugin.widgets.key_watcher import KeyWatcher

ANSWERED = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)


class KeyForwarder(KeyWatcher):
    """Passes the letters that a number field, combo box or table gets on to the canvas; digits and signs stay there.

    Parameters
    ----------
    window
        Only widgets of this window are watched.
    find_canvas
        Returns the widget that handles the keys of the window; `None` if there is none.
    """

    def __init__(self, window: QWidget, find_canvas: Callable[[], QWidget | None]) -> None:
        super().__init__()
        self._window = window
        self._find_canvas = find_canvas
        QApplication.instance().focusChanged.connect(self._on_focus_changed)

    def close_down(self) -> None:
        """Watch nothing any more."""
        QApplication.instance().focusChanged.disconnect(self._on_focus_changed)
        self.close()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Pass a letter on; other keys stay with the widget."""
        if not isinstance(event, QKeyEvent) or (letter := find_letter(event)) is None:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.ignore()
        canvas = self._find_canvas() if event.type() in ANSWERED else None
        if canvas is None:
            return False
        QApplication.sendEvent(canvas, make_key_event(event, letter))
        return True

    def _on_focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        is_ours = new is not None and takes_no_letters(new) and new.window() is self._window
        self.watch([new] if new is not None and is_ours else [])


def takes_no_letters(widget: QWidget) -> bool:
    """Whether a widget is a field of numbers, a table, or a list of choices, in which no text can be typed.

    Qt would look for a row that begins with the letter.
    """
    is_choice = isinstance(widget, QComboBox) and not widget.isEditable()
    return is_choice or isinstance(widget, QAbstractSpinBox | QAbstractItemView)


def find_letter(event: QKeyEvent) -> int | None:
    """Return the key of one letter, alone or with Shift, on a keyboard of any script; `None` for another key."""
    key = find_american_key(event) or event.key()
    return key if event.modifiers() in PLAIN and Qt.Key.Key_A <= key <= Qt.Key.Key_Z else None
