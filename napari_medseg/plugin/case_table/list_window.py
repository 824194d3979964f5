"""Where the list is: folded out in the dock, or in a window of its own, which can be docked anywhere."""

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QRect, QSignalBlocker, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QToolButton, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.preferences import change_preferences, read_preferences
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.case_table.list_panel import ListPanel

SIZE_PX = (900, 460)
"""All usual columns with whole names; at 1280 px the dock stays in view beside it."""


class ListWindow(QDockWidget):
    """A floating dock that holds the list; closing it unchecks the button of the list."""

    def __init__(self, button: QToolButton) -> None:
        super().__init__("Cases")
        self.setObjectName("MedSeg cases")
        self._button = button
        self.hide()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Remember that the list is closed."""
        self._button.setChecked(False)
        super().closeEvent(event)


class ListPlace(QWidget):
    """The place of the list in the dock, and its window.

    Parameters
    ----------
    workspace
        Its preferences tell where the list is.
    panel
        The list.
    button
        A checkable button that shows and hides the list, wherever it is.
    """

    def __init__(self, workspace: Workspace, panel: "ListPanel", button: QToolButton) -> None:
        super().__init__()
        self._workspace = workspace
        self._panel = panel
        self._button = button
        self.window_dock = ListWindow(button)
        self._main: QMainWindow | None = None
        self._is_in_window = False
        self._is_closed = self._was_shown = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(panel)
        self.hide()
        button.toggled.connect(self._show)
        panel.move_requested.connect(self._move)

    def attach(self, window: QMainWindow) -> None:
        """Use the window of the viewer; the list is where it was in the last session."""
        self._main = window
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self.window_dock)
        self.window_dock.setFloating(True)
        self.window_dock.resize(*SIZE_PX)
        self.window_dock.hide()
        if read_preferences(self._workspace.registry).list_in_window:
            self._put(in_window=True)

    def close_down(self) -> None:
        """Remove the window of the list; a second call has no effect."""
        if self._is_closed:
            return
        self._is_closed, main, self._main = True, self._main, None
        if not isalive(self.window_dock):  # Qt deleted it with the window of the viewer
            return
        if main is not None:
            main.removeDockWidget(self.window_dock)
        self.window_dock.deleteLater()

    def _move(self) -> None:
        self._put(in_window=not self._is_in_window)
        with show_errors():
            change_preferences(self._workspace.registry, {"list_in_window": self._is_in_window})
        with QSignalBlocker(self._button):
            self._button.setChecked(True)
        self._show(shown=True)

    def _put(self, *, in_window: bool) -> None:
        if in_window == self._is_in_window or (in_window and self._main is None):
            return
        self._is_in_window = in_window
        if in_window:
            self.hide()
            self.window_dock.setWidget(self._panel)
        else:
            self.window_dock.setWidget(QWidget())
            self.window_dock.hide()
            self.layout().addWidget(self._panel)
        self._panel.set_in_window(in_window)
        self._panel.show()

    def _show(self, shown: bool) -> None:
        (self.window_dock if self._is_in_window else self).setVisible(shown)
        if shown and self._is_in_window and self.window_dock.isFloating() and self._main is not None:
            wanted = self.window_dock.geometry()
            if not self._was_shown:  # Qt gives a dock that floats for the first time a place beside the screen
                self._was_shown = True
                wanted.moveTopLeft(self._main.mapToGlobal(QPoint(0, 0)))
            screen = self._main.screen().availableGeometry()
            self.window_dock.setGeometry(move_into(wanted, screen))


def move_into(window: QRect, screen: QRect) -> QRect:
    """Return a window that is whole on the screen: moved, and smaller only if the screen is."""
    size = window.size().boundedTo(screen.size())
    left = min(max(window.left(), screen.left()), screen.left() + screen.width() - size.width())
    top = min(max(window.top(), screen.top()), screen.top() + screen.height() - size.height())
    return QRect(QPoint(left, top), size)
