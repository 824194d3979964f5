"""Where the strip of a video is shown: below the canvas; closing it closes the video."""

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

HEIGHT_PX = 96
SETTLE_MS = 300


class VideoDock(QDockWidget):
    """A dock below the canvas; `closed` is emitted when a person closes it."""

    closed = Signal()

    def __init__(self, strip: QWidget) -> None:
        super().__init__("Video")
        self.setObjectName("MedSeg video")
        self.setWidget(strip)
        self._window: QMainWindow | None = None
        self._widths: dict[QDockWidget, int] = {}
        self.hide()

    def show_in(self, window: QWidget) -> None:
        """Show the dock below the canvas of a window; a widget without a window shows none."""
        if not isinstance(window, QMainWindow):
            return
        self._widths = _measure_sides(window)
        if self._window is not window:
            self._window = window
            # Only below the canvas: the docks at the sides keep their height.
            window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self, Qt.Orientation.Vertical)
        self.show()
        self.settle()

    def settle(self) -> None:
        """Give the strip its height, and the docks at the sides the width they had, when the window is laid out."""
        for wait_ms in (0, SETTLE_MS):
            QTimer.singleShot(wait_ms, self._set_sizes)

    def remove(self) -> None:
        """Remove the dock from its window."""
        window, self._window = self._window, None
        if not isalive(self):  # Qt deleted it with the window
            return
        if window is not None:
            window.removeDockWidget(self)
        self.deleteLater()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Tell that a person closed it."""
        super().closeEvent(event)
        self.closed.emit()

    def _set_sizes(self) -> None:
        """Give back what Qt takes from the docks at the sides, below the strip of a slide or with napari's slider."""
        window, widths = self._window, self._widths
        if window is None or not isalive(self) or not self.isVisible():
            return
        window.resizeDocks([self], [HEIGHT_PX], Qt.Orientation.Vertical)
        narrow = [dock for dock, width in widths.items() if isalive(dock) and dock.width() < width]
        if narrow:  # naming the others, too, has no effect in Qt
            window.resizeDocks(narrow, [widths[dock] for dock in narrow], Qt.Orientation.Horizontal)


def _measure_sides(window: QMainWindow) -> dict[QDockWidget, int]:
    """Return the widths of the docks that are seen at the left and the right of the canvas."""
    sides = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)
    docks = [dock for dock in window.findChildren(QDockWidget) if dock.isVisible() and not dock.isFloating()]
    return {dock: dock.width() for dock in docks if window.dockWidgetArea(dock) in sides}
