"""Workaround for a crash when layers are removed: free their textures in the correct OpenGL context."""

from typing import TYPE_CHECKING

from napari.utils.events import Event
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari import Viewer


class CanvasContext:
    """Makes the OpenGL context of the canvas current before a layer is removed.

    vispy frees textures and buffers in the current OpenGL context when a layer is removed. This may be the context
    that Qt uses to compose the window. The Mesa renderer (Linux without a GPU, virtual displays) then crashes at the
    next drawing. Observed with napari 0.9.2, vispy 0.17 and Mesa 22.3: add image, labels and a second image, then
    remove the first two.

    Parameters
    ----------
    viewer
        Viewer whose layers are watched.
    window
        Window that contains the canvas.
    """

    def __init__(self, viewer: "Viewer", window: QWidget) -> None:
        self._viewer = viewer
        self._canvases = window.findChildren(QOpenGLWidget)
        viewer.layers.events.removing.connect(self._on_removing)

    def close(self) -> None:
        """Stop watching."""
        self._viewer.layers.events.removing.disconnect(self._on_removing)

    def _on_removing(self, _event: Event) -> None:
        for canvas in self._canvases:
            canvas.makeCurrent()
