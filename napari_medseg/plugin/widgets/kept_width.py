"""A dock at the side keeps its width: Qt makes it narrower when what lies in the middle needs more for a moment."""

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow


class KeptWidth(QObject):
    """Gives a dock its width back whenever anything but a person made it narrower.

    Where something in the middle or below it needs more width for a moment, Qt takes it from the docks at the sides and
    never gives it back.

    Parameters
    ----------
    window, dock
        The dock lies in this window. Nothing is done while it floats or is hidden.
    width_px
        The width to keep, until a person drags the edge of the dock.
    """

    def __init__(self, window: QMainWindow, dock: QDockWidget, width_px: int) -> None:
        super().__init__(dock)
        self._window = window
        self._dock = dock
        self.width_px = width_px
        self._pressed_at_px: int | None = None
        self._asked: tuple[int, ...] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)  # when Qt has laid the window out
        self._timer.timeout.connect(self._give_back)
        dock.installEventFilter(self)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Watch the size of the dock, and the edges of docks, whose mouse is that of the window itself."""
        kind = event.type()
        changed = (watched is self._dock and kind == QEvent.Type.Resize) or kind == QEvent.Type.LayoutRequest
        if changed and self._pressed_at_px is None:
            self._timer.start(0)
        elif watched is self._window and kind == QEvent.Type.MouseButtonPress:
            self._pressed_at_px = self._dock.width()
        elif watched is self._window and kind == QEvent.Type.MouseButtonRelease:
            pressed_at_px, self._pressed_at_px = self._pressed_at_px, None
            if pressed_at_px not in (None, self._dock.width()):
                self.width_px = self._dock.width()
        return False

    def _give_back(self) -> None:
        if not isalive(self._dock) or not self._dock.isVisible() or self._dock.isFloating():
            return
        # Asked once for the same place: where Qt cannot give it, it lays out again and would be asked for ever.
        place = self._dock.width(), self._window.width(), self._window.minimumSizeHint().width()
        if self._dock.width() < self.width_px and place != self._asked:
            self._asked = place
            self._window.resizeDocks([self._dock], [self.width_px], Qt.Orientation.Horizontal)
        elif self._dock.width() >= self.width_px:
            self._asked = None


def keep_width(window: QMainWindow, dock: QObject | None, width_px: int) -> None:
    """Keep the width of what a widget lies in, if that is a dock."""
    if isinstance(dock, QDockWidget):
        KeptWidth(window, dock, width_px)
