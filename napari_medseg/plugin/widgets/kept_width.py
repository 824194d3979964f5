"""A dock at the side keeps its width: Qt makes it narrower when what lies in the middle needs more for a moment."""

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
        super().__init__(dock)  # it holds neither itself: napari's window must not outlive its close
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
        kind, dock = event.type(), self.parent()
        if not isinstance(dock, QDockWidget):
            return False
        is_window = watched is dock.parentWidget()
        changed = (watched is dock and kind == QEvent.Type.Resize) or kind == QEvent.Type.LayoutRequest
        if changed and self._pressed_at_px is None:
            self._timer.start(0)
        elif is_window and kind == QEvent.Type.MouseButtonPress:
            self._pressed_at_px = dock.width()
        elif is_window and kind == QEvent.Type.MouseButtonRelease:
            pressed_at_px, self._pressed_at_px = self._pressed_at_px, None
            if pressed_at_px not in (None, dock.width()):
                self.width_px = dock.width()
        return False

    def _give_back(self) -> None:
        dock = self.parent()
        window = dock.parentWidget() if isinstance(dock, QDockWidget) else None
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow):
            return
        if not dock.isVisible() or dock.isFloating():
            return
        # Asked once for the same place: where Qt cannot give it, it lays out again and would be asked for ever.
        place = dock.width(), window.width(), window.minimumSizeHint().width()
        if dock.width() < self.width_px and place != self._asked:
            self._asked = place
            window.resizeDocks([dock], [self.width_px], Qt.Orientation.Horizontal)
        elif dock.width() >= self.width_px:
            self._asked = None


def keep_width(window: QMainWindow, dock: QObject | None, width_px: int) -> None:
    """Keep the width of what a widget lies in, if that is a dock."""
    if isinstance(dock, QDockWidget):
        KeptWidth(window, dock, width_px)
