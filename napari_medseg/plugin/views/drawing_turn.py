"""Draws the next case in a turn of its own, so that the window answers between changing its layers and drawing them."""

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.controllers.case_controller import CaseController

if TYPE_CHECKING:
    from napari import Viewer


class DrawingTurn(QObject):
    """Holds the drawing of the canvas while a case or its labels are shown, until the next turn of the event loop.

    Qt draws before it handles keys and timers. Changing the layers takes about 30 ms of the processor; drawing them
    takes 20 ms more without a graphics card, and 100 ms for a large image. A new layer would be drawn twice while
    napari still adds it, because its controls change the size of the canvas.

    Meanwhile the canvas keeps its picture: its paint events are dropped. (With updates disabled it would be blank for a
    moment, whenever Qt paints what lies around it.)

    Parameters
    ----------
    viewer
        Tells when a layer will be added.
    case_controller
        Tells when its layers changed.
    """

    def __init__(self, viewer: "Viewer", case_controller: CaseController) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._canvas: QWidget | None = None
        self._shown: tuple[int, bool] | None = None
        self.is_held = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._draw)
        viewer.layers.events.inserting.connect(self._hold)
        case_controller.opened.connect(self._hold_if_other)
        case_controller.state_changed.connect(self._hold_if_other)

    def attach(self, canvas: QWidget) -> None:
        """Hold the drawing of this canvas from now on."""
        self._canvas = canvas

    def close(self) -> None:
        """Draw what is held; a second call has no effect."""
        self._viewer.layers.events.inserting.disconnect(self._hold)
        if isalive(self._timer):  # else Qt deleted it with the window
            self._timer.stop()
        self._draw()
        self._canvas = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Drop the paint events of the canvas."""
        return event.type() == QEvent.Type.Paint

    def _hold_if_other(self) -> None:
        """Hold the drawing if another case is shown, or the first labels of the open one."""
        current, before = self._case_controller.current, self._shown
        self._shown = None if current is None else (current.case.id, current.labels_layer is not None)
        if self._shown != before:
            self._hold()

    def _hold(self, _event: object = None) -> None:
        if self._canvas is not None and isalive(self._canvas) and not self.is_held:
            self.is_held = True
            self._canvas.installEventFilter(self)
            self._timer.start()

    def _draw(self) -> None:
        was_held, self.is_held = self.is_held, False
        if was_held and self._canvas is not None and isalive(self._canvas):
            self._canvas.removeEventFilter(self)
            self._canvas.update()
