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
        self.hide()

    def show_in(self, window: QWidget) -> None:
        """Show the dock below the canvas of a window; a widget without a window shows none."""
        if not isinstance(window, QMainWindow):
            return
        if self._window is not window:
            self._window = window
            # Only below the canvas: the docks at the sides keep their height.
            window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self, Qt.Orientation.Vertical)
        self.show()
        self.settle()

    def settle(self) -> None:
        """Give the strip its height when the window is laid out."""
        for wait_ms in (0, SETTLE_MS):
            QTimer.singleShot(wait_ms, self._set_height)

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

    def _set_height(self) -> None:
        if self._window is not None and isalive(self) and self.isVisible():
            self._window.resizeDocks([self], [HEIGHT_PX], Qt.Orientation.Vertical)
