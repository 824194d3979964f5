"""All that changes how the open case is seen: window and level, place on the screen, slices in the other planes."""

from typing import TYPE_CHECKING

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.views.drawing_turn import DrawingTurn
from napari_medseg.plugin.views.planes_dock import PlanesDock
from napari_medseg.plugin.views.view_anchor import ViewAnchor
from napari_medseg.plugin.views.window_drag import WindowDrag
from napari_medseg.plugin.views.window_selector import WindowSelector
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection
from napari_medseg.plugin.widgets.notifications import show_notice
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class CaseViews:
    """Makes the views of a dock, and connects them to its window.

    Parameters
    ----------
    viewer, workspace, case_controller
        The viewer, the project with its preferences, and the controller of the open case.
    """

    def __init__(self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController) -> None:
        self.display_window = DisplayWindow(case_controller, workspace)
        self.planes = PlanesDock(viewer, workspace, case_controller, self.display_window)
        self._drag = WindowDrag(self.display_window)
        self._anchor = ViewAnchor(viewer)
        self._drawing = DrawingTurn(viewer, case_controller)

    def add_to(self, section: CollapsibleSection) -> None:
        """Add the combo box of the window to the header of a section, and the box for the planes below."""
        section.add_to_header(WindowSelector(self.display_window))
        section.add(self.planes.checkbox)

    def attach(self, window: QMainWindow) -> None:
        """Handle the middle button on the canvas of a window, and show the planes below it."""
        canvases = window.findChildren(QOpenGLWidget)
        self.planes.attach(window)
        self._drag.watch(canvases)
        if canvases:
            self._anchor.attach(window, canvases[0])
            self._drawing.attach(canvases[0])

    def show_preset(self, preset: str) -> None:
        """Show the open image with a preset of window and level, or say why this makes no sense."""
        if reason := self.display_window.show_preset(preset):
            show_notice(reason[:1].upper() + reason[1:])

    def close_down(self) -> None:
        """Store what was chosen, and remove the planes from the window."""
        self._drawing.close()
        self._drag.close()
        self._anchor.close()
        self.display_window.close()
        self.planes.close_down()
