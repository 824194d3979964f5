"""The fields of a slide as outlines on it, coloured by state; a click on one finds its case."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Vectors
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_medseg.core.records import Case
from napari_medseg.core.slides.fields import Field
from napari_medseg.plugin import layers
from napari_medseg.plugin.slides.slide_layer import SlideLayer
from napari_medseg.workflow.slides.slide_fields import SlideField

if TYPE_CHECKING:
    from napari import Viewer

STATE_COLOURS = {
    "new": "#56B4E9",
    "predicted": "#0072B2",
    "draft": "#E69F00",
    "accepted": "#009E73",
    "rejected": "#D55E00",
}
"""On white and pink; of the palette of Okabe and Ito, which people of all colour vision tell apart."""
WIDTH_ON_SCREEN_PX = 2.5


class OutlineLayer(Vectors):
    """Four lines for each field; of a thousand, a Shapes layer takes 0.5 s in the window, this one 0.1 s."""

    _max_vectors_thumbnail = 64  # napari draws 1,024 into the thumbnail at each change: 60 ms


class FieldOutlines:
    """A layer with a rectangle for each field."""

    def __init__(self, viewer: "Viewer", slide: SlideLayer) -> None:
        self._viewer = viewer
        self._slide = slide
        self._layer: OutlineLayer | None = None
        self._shown: list[SlideField] = []
        self._boxes: NDArray[np.float64] = np.zeros((0, 4))

    def show(self, fields: Sequence[SlideField]) -> None:
        """Show these fields, those of the lists that changed anew."""
        places = [each.field for each in fields]
        is_same = self._layer is not None and self._layer in self._viewer.layers
        is_same = is_same and places == [each.field for each in self._shown]
        states = [each.row.state for each in fields]
        if is_same and states == [each.row.state for each in self._shown]:
            self._shown = list(fields)
            return
        self._shown = list(fields)
        self._boxes = np.array([self._get_box(place) for place in places]).reshape(-1, 4)
        colours = _find_colours(states)
        if is_same and self._layer is not None:
            self._layer.edge_color = colours
            return
        self.hide()
        if fields:
            self._add_layer(colours)

    def hide(self) -> None:
        """Remove the layer."""
        layers.remove(self._viewer, self._layer)
        self._layer = None

    def adapt_to_zoom(self) -> None:
        """Keep the outlines as wide on the screen as they are, whatever the zoom."""
        if self._layer is not None and len(self._shown):
            width = self._compute_width()
            if abs(self._layer.edge_width / width - 1) > 0.3:
                self._layer.edge_width = width

    def find_case(self, position: Sequence[float]) -> Case | None:
        """Return the case of the smallest field at a place (y, x) of the viewer's world; `None` if there is none."""
        y, x = (value / scale for value, scale in zip(position[-2:], self._slide.scale, strict=True))
        inside = [
            (float((bottom - top) * (right - left)), number)
            for number, (top, left, bottom, right) in enumerate(self._boxes)
            if top <= y < bottom and left <= x < right
        ]
        return self._shown[min(inside)[1]].row.case if inside else None

    def get_box_of(self, case: Case) -> tuple[float, float, float, float] | None:
        """Return (top, left, bottom, right) of a case in pixels of level 0; `None` if it is not shown."""
        for each, box in zip(self._shown, self._boxes, strict=True):
            if each.row.case.id == case.id:
                top, left, bottom, right = (float(value) for value in box)
                return top, left, bottom, right
        return None

    def _add_layer(self, colours: NDArray[np.float32]) -> None:
        active = self._viewer.layers.selection.active
        self._layer = OutlineLayer(
            _make_lines(self._boxes),
            ndim=2,
            vector_style="line",
            edge_color=colours,
            edge_width=self._compute_width(),
            opacity=1.0,  # where two lines meet, one is not seen through the other
            name=f"fields of {self._slide.blocks.name}",
            scale=self._slide.scale,
            units=(self._slide.unit, self._slide.unit),
            axis_labels=("y", "x"),
            metadata={layers.METADATA_KEY: {"fields": True}},
        )
        self._viewer.add_layer(self._layer)
        self._layer.editable = False
        self._viewer.layers.selection.active = active or self._slide.layer

    def _compute_width(self) -> float:
        """Return the width of a line of some pixels on the screen, in pixels of level 0."""
        return WIDTH_ON_SCREEN_PX / max(float(self._viewer.scene.camera.zoom) * self._slide.scale[1], 1e-9)

    def _get_box(self, field: Field) -> tuple[float, float, float, float]:
        levels = self._slide.blocks.file_levels
        factor = levels[min(field.level, len(levels) - 1)].downsample
        return (field.y, field.x, field.y + field.height * factor, field.x + field.width * factor)


def _find_colours(states: Sequence[str]) -> NDArray[np.float32]:
    """Return the RGBA of each line, in the order of `_make_lines`."""
    known = {state: transform_color(colour)[0] for state, colour in STATE_COLOURS.items()}
    rows = [known[state] for state in states]
    return np.repeat(np.array(rows, np.float32).reshape(-1, 4), 4, axis=0)


def _make_lines(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the four sides of boxes (n, 4), each a corner and the way to the next: (4 n, 2, 2), pixels of level 0."""
    top, left, bottom, right = boxes.T
    corners = np.stack([top, left, top, right, bottom, right, bottom, left], axis=1).reshape(-1, 4, 2)
    return np.stack([corners, np.roll(corners, -1, axis=1) - corners], axis=2).reshape(-1, 2, 2)
