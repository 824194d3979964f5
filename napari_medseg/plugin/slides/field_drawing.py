"""The mouse on a slide: a drag draws a field, or a click one of the usual size; a click on a field opens its case."""

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QTimer

from napari_medseg.core.records import Case
from napari_medseg.plugin import layers
from napari_medseg.plugin.slides.slide_layer import SlideLayer

if TYPE_CHECKING:
    from napari import Viewer

CLICK_PX = 4
"""A shorter movement on the screen is a click."""
COLOUR = "#CC00CC"

Box = tuple[float, float, float, float]


class FieldDrawing:
    """While it is on, a drag draws a rectangle instead of moving the slide.

    Parameters
    ----------
    viewer, slide
        Viewer and slide.
    make_field
        Gets (top, left, bottom, right) in pixels of level 0; after a click, twice the same point.
    """

    def __init__(self, viewer: "Viewer", slide: SlideLayer, make_field: Callable[[Box], None]) -> None:
        self._viewer = viewer
        self._slide = slide
        self._make_field = make_field
        self._preview: Shapes | None = None
        self.is_on = False

    def turn_on(self) -> None:
        """Draw with the next drags."""
        if not self.is_on:
            self.is_on = True
            self._viewer.scene.camera.mouse_pan = False
            self._viewer.mouse_drag_callbacks.append(self._drag)

    def turn_off(self) -> None:
        """Let drags move the slide again."""
        if self.is_on:
            self.is_on = False
            self._viewer.scene.camera.mouse_pan = True
            self._viewer.mouse_drag_callbacks.remove(self._drag)
            self._remove_preview()

    def _drag(self, _viewer: "Viewer", event: Any) -> Generator[None]:  # noqa: ANN401 - napari
        if event.button != 1:
            return
        start = self._to_pixels(event.position)
        began, ended = np.asarray(event.pos, float), np.asarray(event.pos, float)
        box = (*start, *start)
        yield
        while event.type == "mouse_move":
            ended = np.asarray(event.pos, float)
            here = self._to_pixels(event.position)
            box = (min(start[0], here[0]), min(start[1], here[1]), max(start[0], here[0]), max(start[1], here[1]))
            self._show_preview(box)
            yield
        self._remove_preview()
        is_click = float(np.abs(ended - began).max()) < CLICK_PX
        self._make_field((*start, *start) if is_click else box)

    def _to_pixels(self, position: Any) -> tuple[float, float]:  # noqa: ANN401 - napari
        y, x = (float(value) / scale for value, scale in zip(position[-2:], self._slide.scale, strict=True))
        return y, x

    def _show_preview(self, box: Box) -> None:
        top, left, bottom, right = box
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
        width = 2 / max(float(self._viewer.scene.camera.zoom) * self._slide.scale[1], 1e-9)
        if self._preview is None:
            self._preview = self._viewer.add_shapes(
                [corners],
                shape_type="rectangle",
                edge_color=COLOUR,
                face_color="transparent",
                edge_width=width,
                name="new field",
                scale=self._slide.scale,
                units=(self._slide.unit, self._slide.unit),
                axis_labels=("y", "x"),
                metadata={layers.METADATA_KEY: {"fields": True}},
            )
            self._preview.editable = False
        else:
            self._preview.data = [corners]

    def _remove_preview(self) -> None:
        layers.remove(self._viewer, self._preview)
        self._preview = None


class FieldClicks:
    """While it is on, a click on a field opens its case; a drag moves the slide as ever.

    Parameters
    ----------
    viewer
        The viewer.
    find_case
        Returns the case at a place of the viewer's world, or `None`.
    open_case
        Opens it.
    """

    def __init__(
        self,
        viewer: "Viewer",
        find_case: Callable[[Sequence[float]], Case | None],
        open_case: Callable[[Case], None],
    ) -> None:
        self._viewer = viewer
        self._find_case = find_case
        self._open_case = open_case

    def turn_on(self) -> None:
        """React to clicks."""
        self._viewer.mouse_drag_callbacks.append(self._click)

    def turn_off(self) -> None:
        """React no more."""
        if self._click in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._click)

    def _click(self, _viewer: "Viewer", event: Any) -> Generator[None]:  # noqa: ANN401 - napari
        if event.button != 1:
            return
        start, position = np.asarray(event.pos, float), tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        moved = float(np.abs(np.asarray(event.pos, float) - start).max())
        case = self._find_case(position) if moved < CLICK_PX else None
        if case is not None:
            QTimer.singleShot(0, lambda: self._open_case(case))  # after napari is done with the click
