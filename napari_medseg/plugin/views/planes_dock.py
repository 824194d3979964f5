"""Where the planes are shown: below the canvas, or wherever the user drags them, such as on a second screen."""

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QCheckBox, QDockWidget, QMainWindow

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.views.planes_strip import PlanesStrip
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.preferences import read_preferences, write_preferences
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

HEIGHT_PX = 190
TOOLTIP = "Two slices across the series at the mouse, below the image; a click on them goes there"


class PlanesDock(QDockWidget):
    """A dock with the coronal and the sagittal slice; `checkbox` shows and hides it, which is kept as a preference."""

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, display_window: DisplayWindow
    ) -> None:
        super().__init__("Coronal and sagittal")
        self.setObjectName("MedSeg planes")
        self._workspace = workspace
        self._case_controller = case_controller
        self.strip = PlanesStrip(viewer, case_controller, display_window)
        self.setWidget(self.strip)
        self.checkbox = QCheckBox("show coronal and sagittal slices")
        self.checkbox.setToolTip(TOOLTIP)
        self.checkbox.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.checkbox.setChecked(read_preferences(workspace.registry).shows_planes)
        self.checkbox.toggled.connect(self._on_toggled)
        self._window: QMainWindow | None = None
        self._is_closed = False
        self.hide()
        case_controller.opened.connect(self.refresh)
        self.refresh()

    def attach(self, window: QMainWindow) -> None:
        """Add the dock below the canvas of a window."""
        self._window = window
        # Only below the canvas: the docks at the sides keep their height.
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, self)
        self.hide()
        self.refresh()

    def close_down(self) -> None:
        """Remove the dock from its window; a second call has no effect."""
        if self._is_closed:
            return
        self._is_closed = True
        self.strip.close_down()
        window, self._window = self._window, None
        if not isalive(self):  # Qt deleted it with the window
            return
        if window is not None:
            window.removeDockWidget(self)
        self.deleteLater()

    def refresh(self) -> None:
        """Show the dock if the user wants it and the open image is a series; offer it only then."""
        has_series = self.strip.has_series
        self.checkbox.setVisible(has_series)
        is_wanted = has_series and self.checkbox.isChecked() and self._window is not None
        if is_wanted and not self.isVisible():
            self.show()
            QTimer.singleShot(0, self._set_height)  # when the window has laid it out
        elif not is_wanted:
            self.hide()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Uncheck the box when the user closes the dock."""
        with QSignalBlocker(self.checkbox):
            self.checkbox.setChecked(False)
        self._keep()
        super().closeEvent(event)

    def _set_height(self) -> None:
        if self._window is not None and self.isVisible():
            self._window.resizeDocks([self], [HEIGHT_PX], Qt.Orientation.Vertical)

    def _on_toggled(self, _shown: bool) -> None:
        self.refresh()
        self._keep()

    def _keep(self) -> None:
        preferences = read_preferences(self._workspace.registry)
        if preferences.shows_planes != self.checkbox.isChecked():
            with show_errors():
                changed = preferences.model_copy(update={"shows_planes": self.checkbox.isChecked()})
                write_preferences(self._workspace.registry, changed)
