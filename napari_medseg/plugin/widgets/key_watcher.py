"""Sees the events of some widgets before they do: keys by their place on the keyboard, and the middle button."""

from collections.abc import Sequence

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget


class KeyWatcher(QObject):
    """Filters the events of widgets; subclasses override `eventFilter`."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: list[QWidget] = []

    def watch(self, widgets: Sequence[QWidget]) -> None:
        """Watch widgets; those that were watched before are let go."""
        self.close()
        self._watched = list(widgets)
        for widget in self._watched:
            widget.installEventFilter(self)

    def close(self) -> None:
        """Let go of the widgets."""
        for widget in self._watched:
            try:
                widget.removeEventFilter(self)
            except RuntimeError:  # the window deleted it
                continue
        self._watched = []
