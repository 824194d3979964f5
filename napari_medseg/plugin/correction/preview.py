"""The preview of an edit: an overlay of napari's scene, so that it is in no list of layers and in no file.

A gained pixel shows its new colour, a lost one is striped. A line that is drawn is white with a dark edge.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari._vispy.overlays.base import VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from napari.layers import Labels
from numpy.typing import NDArray
from vispy.scene import Node
from vispy.scene.visuals import Image, Line
from vispy.visuals.transforms import MatrixTransform

from napari_medseg.core.editing.edit import Edit, PlanePreview

if TYPE_CHECKING:
    from napari import Viewer

OVERLAY_NAME = "medseg_preview"
FILL_ALPHA = 200
STRIPE_PX = 4
LINE_WIDTHS = (4.0, 1.5)


@dataclass(frozen=True, eq=False)
class Drawing:
    """What the overlay draws.

    Parameters
    ----------
    grid
        Places (y, x) of pixel (0, 0), (1, 0) and (0, 1) in the scene, (3, 2).
    colours
        uint8 (y, x, 4), or `None`.
    first_pixel
        Place (y, x) of the first of these pixels.
    line
        Points (n, 2), (y, x) in pixels, or `None`.
    """

    grid: NDArray[np.float64]
    colours: NDArray[np.uint8] | None = None
    first_pixel: tuple[int, int] = (0, 0)
    line: NDArray[Any] | None = None


class PreviewOverlay(SceneOverlay):
    """Model of the overlay, as napari wants it: it holds a `Drawing`."""

    drawing: Any = None


class PreviewVisual(VispySceneOverlay):
    """Draws a `PreviewOverlay`."""

    overlay: PreviewOverlay

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - those of napari's own overlays
        node = Node()
        self._image = Image(np.zeros((1, 1, 4), np.uint8), method="auto", interpolation="nearest", parent=node)
        self._image.transform = MatrixTransform()  # kept, as another transform would compile the shader again
        places = np.zeros((2, 2), np.float32)
        self._lines = [
            Line(places, color=colour, width=width, method="agg", parent=node)
            for colour, width in zip(("black", "white"), LINE_WIDTHS, strict=True)
        ]
        for order, part in enumerate((self._image, *self._lines)):
            part.order = order
            part.set_gl_state("translucent", depth_test=False)
        super().__init__(node=node, **arguments)
        self.overlay.events.drawing.connect(self._on_drawing)
        self.reset()

    def reset(self) -> None:
        """Draw anew."""
        super().reset()
        self._on_drawing()

    def close(self) -> None:
        """Disconnect from the overlay."""
        self.overlay.events.drawing.disconnect(self._on_drawing)
        super().close()

    def _on_blending_change(self) -> None:
        """Nothing: the parts have a state of their own."""

    def _on_drawing(self) -> None:
        drawing: Drawing | None = self.overlay.drawing
        if drawing is None:
            return
        self.node.transform.matrix = _make_matrix(drawing.grid)
        self._image.visible = drawing.colours is not None
        if drawing.colours is not None:
            self._image.set_data(drawing.colours)
            place = np.eye(4)
            place[3, :2] = drawing.first_pixel[1] - 0.5, drawing.first_pixel[0] - 0.5
            self._image.transform.matrix = place
        for line in self._lines:
            line.visible = drawing.line is not None
            if drawing.line is not None:
                line.set_data(np.asarray(drawing.line, np.float32)[:, ::-1])
        self.node.update()


overlay_to_visual[PreviewOverlay] = PreviewVisual


class Preview:
    """Shows edits and lines over the slice of a viewer.

    Parameters
    ----------
    viewer
        The overlay is added to its scene, and removed by `close`.
    """

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = viewer
        self.overlay = PreviewOverlay()
        viewer.scene.overlays[OVERLAY_NAME] = self.overlay

    @property
    def drawing(self) -> Drawing | None:
        """What is shown now; `None` if nothing is."""
        return self.overlay.drawing if self.overlay.visible else None

    def close(self) -> None:
        """Remove the overlay."""
        self.hide()
        self._viewer.scene.overlays.pop(OVERLAY_NAME, None)

    def show_edit(self, edit: Edit, layer: Labels, plane: int | None) -> None:
        """Show what an edit changes on a slice of a volume, or in a 2-D image, in the colours of a layer."""
        shown = edit.render_plane(plane or 0)
        colours = paint_preview(shown, layer) if shown.mask.size else None
        first = (int(shown.box[0].start), int(shown.box[1].start))
        self._show(Drawing(_find_grid(layer), colours, first))

    def add_line(self, line: NDArray[Any], layer: Labels) -> None:
        """Show a line (n, 2), (y, x) in pixels, over what is shown."""
        shown = self.drawing or Drawing(_find_grid(layer))
        self._show(replace(shown, line=line if len(line) > 1 else None))

    def hide(self) -> None:
        """Hide everything."""
        self.overlay.visible = False
        self.overlay.drawing = None

    def _show(self, drawing: Drawing) -> None:
        self.overlay.drawing = drawing
        self.overlay.visible = True


def paint_preview(shown: PlanePreview, layer: Labels) -> NDArray[np.uint8]:
    """Return the colours of a preview, uint8 (y, x, 4): the new label's colour; stripes where a label is lost."""
    colours = np.zeros((*shown.mask.shape, 4), np.uint8)
    values, inverse = np.unique(shown.new[shown.mask], return_inverse=True)
    table = np.stack([np.atleast_1d(layer.get_color(int(value))) if value else np.zeros(4) for value in values]) * 255
    colours[shown.mask] = table.astype(np.uint8)[inverse]
    colours[..., 3] = np.where(shown.mask, FILL_ALPHA, 0)
    y, x = np.ogrid[: shown.mask.shape[0], : shown.mask.shape[1]]
    is_bright = (y + shown.box[0].start + x + shown.box[1].start) % STRIPE_PX < STRIPE_PX // 2
    lost = shown.mask & (shown.new == 0)
    colours[lost & is_bright] = (255, 255, 255, FILL_ALPHA)
    colours[lost & ~is_bright] = (0, 0, 0, FILL_ALPHA)
    return colours


def _find_grid(layer: Labels) -> NDArray[np.float64]:
    """Return where pixel (0, 0), (1, 0) and (0, 1) of a layer are in the scene, (3, 2)."""
    corners = [(0.0,) * (layer.ndim - 2) + corner for corner in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    return np.array([layer.data_to_world(corner)[-2:] for corner in corners])


def _make_matrix(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix from pixels (x, y) to the scene, as vispy wants it: (4, 4), for rows."""
    matrix = np.eye(4)
    matrix[0, :2] = (grid[2] - grid[0])[::-1]
    matrix[1, :2] = (grid[1] - grid[0])[::-1]
    matrix[3, :2] = grid[0][::-1]
    return matrix
