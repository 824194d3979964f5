"""Drags with the middle button on the canvas set window and level, whatever tool is active."""

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.widgets.key_watcher import KeyWatcher

MIDDLE = Qt.MouseButton.MiddleButton


class WindowDrag(KeyWatcher):
    """Takes the middle button from the canvas before napari sees it: its tools paint with any button."""

    def __init__(self, display_window: DisplayWindow) -> None:
        super().__init__()
        self._display_window = display_window
        self._start: QPointF | None = None

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Handle a press, a move and a release of the middle button; leave everything else to napari."""
        if not isinstance(event, QMouseEvent):
            return False
        kind = event.type()
        if kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick) and event.button() == MIDDLE:
            self._begin(event)
            return True
        if kind == QEvent.Type.MouseMove and self._start is not None:
            return self._follow(event)
        if kind == QEvent.Type.MouseButtonRelease and event.button() == MIDDLE:
            self._end()
            return True
        return False

    def _begin(self, event: QMouseEvent) -> None:
        is_alone = event.buttons() == MIDDLE  # not in the middle of a stroke
        self._start = event.position() if is_alone and self._display_window.begin_drag() else None

    def _follow(self, event: QMouseEvent) -> bool:
        if not event.buttons() & MIDDLE:  # the release went to another window
            self._end()
            return False
        way = event.position() - (self._start or event.position())
        self._display_window.drag(way.x(), way.y())
        return True

    def _end(self) -> None:
        if self._start is not None:
            self._start = None
            self._display_window.end_drag()
