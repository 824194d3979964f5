"""Keep the window alive when layers go: their textures are freed in the OpenGL context that they live in."""

from typing import TYPE_CHECKING

from napari.utils.events import Event
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari import Viewer


class CanvasContext:
    """Make the canvas's OpenGL context current whenever a layer is about to be removed.

    vispy frees textures and buffers the moment a layer goes, in whatever context is current. That may be the one with
    which Qt composes the window: Mesa's renderer (any Linux without a GPU, every virtual display) then crashes at the
    next drawing. Seen with napari 0.9.2, vispy 0.17 and Mesa 22.3: image, labels, second image; remove the first two.

    Parameters
    ----------
    viewer
        Whose layers are watched.
    window
        That holds the canvas.
    """

    def __init__(self, viewer: "Viewer", window: QWidget) -> None:
        self._viewer = viewer
        self._canvases = window.findChildren(QOpenGLWidget)
        viewer.layers.events.removing.connect(self._on_removing)

    def close(self) -> None:
        """Watch no longer."""
        self._viewer.layers.events.removing.disconnect(self._on_removing)

    def _on_removing(self, _event: Event) -> None:
        for canvas in self._canvases:
            canvas.makeCurrent()
