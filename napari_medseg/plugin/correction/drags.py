"""Drags on the labels layer: shown while the button is down, applied when it is released."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.editing import piece_tools
from napari_medseg.core.editing.border import compute_pick_px
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.smart_brush import KnownDabs
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.correction.tools import Gesture, Tool

PREVIEW_AFTER_MS = 8
"""Moves of the mouse that come faster are shown together."""
N_SLICE_AXES = 2


class Drag:
    """A drag under way: points (y, x) in pixels on a slice, `None` in a 2-D image, at most so far from a border."""

    def __init__(
        self, tool: Tool, plane: int | None, start: NDArray[np.float64], pick_px: float, *, with_shift: bool
    ) -> None:
        self.tool = tool
        self.plane = plane
        self.pick_px = pick_px
        self.points = [start]
        self.with_shift = with_shift
        self.known_dabs: KnownDabs = {}

    def end_at(self, place: NDArray[np.float64]) -> None:
        """Add the place of the release: vispy leaves out moves that come too fast."""
        if not np.array_equal(place, self.points[-1]):
            self.points.append(place)


class Drags(QObject):
    """Turns the moves of the mouse into a request of a tool.

    Parameters
    ----------
    editor
        Shows and applies it.

    Notes
    -----
    `finished` is emitted at the release of the button, after the edit was applied; `finishing` is the tool whose edit
    is being applied. `strength` is that of the smart brush, and `in_volume` says whether pieces are those of the whole
    volume.
    """

    finished = Signal()

    def __init__(self, editor: Editor) -> None:
        super().__init__()
        self._editor = editor
        self._drag: Drag | None = None
        self.finishing: Tool | None = None
        self.n_begun = 0
        self.strength = 1.0
        self.in_volume = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PREVIEW_AFTER_MS)
        self._timer.timeout.connect(self.show)

    @property
    def is_under_way(self) -> bool:
        """Whether the button is down, and the drag was not dropped."""
        return self._drag is not None

    def follow(self, tool: Tool, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401 - napari's own event
        """Follow a drag of a tool from its press to its release; napari goes on with it at each move."""
        with_shift = "Shift" in event.modifiers
        plane, pick_px = self._editor.find_plane(), compute_pick_px(event.camera_zoom * float(layer.scale[-1]))
        drag = self._drag = Drag(tool, plane, find_pixel(layer, event), pick_px, with_shift=with_shift)
        self.n_begun += 1
        if not tool.has_line:
            self.show()
        yield
        while event.type == "mouse_move":
            drag.points.append(find_pixel(layer, event))
            drag.with_shift = "Shift" in event.modifiers
            if self._drag is drag and not self._timer.isActive():
                self._timer.start()
            yield
        if self._drag is drag:
            drag.end_at(find_pixel(layer, event))
            self._finish(drag)

    def fill(self, layer: Labels, event: Any) -> None:  # noqa: ANN401 - napari's own event
        """Fill what is under a click with the selected label; never open background."""
        y, x = (int(np.floor(place + 0.5)) for place in find_pixel(layer, event))
        plane, value = self._editor.find_plane(), int(layer.selected_label)
        seed = (y, x) if plane is None else (plane, y, x)
        is_planar = layer.n_edit_dimensions == N_SLICE_AXES

        def make_edit(canvas: Canvas) -> Edit:
            return piece_tools.fill_region(canvas, seed, value, is_planar=is_planar)

        self._editor.run(Request(make_edit, protects=False, in_volume=not is_planar))

    def show(self) -> None:
        """Show what the drag under way would do on this slice."""
        self._timer.stop()
        if (drag := self._drag) is None or (layer := self._editor.layer) is None:
            return
        if drag.tool.has_preview:
            request = self._make_request(drag, layer)
            self._editor.begin(Request(request.preview_edit or request.make_edit, protects=request.protects))
        if drag.tool.has_line:
            self._editor.preview.add_line(np.array(drag.points), layer)

    def drop(self) -> None:
        """Drop the drag under way: its release does nothing."""
        self._timer.stop()
        if self._drag is not None:
            self._drag = None
            self._editor.drop_preview()

    def _finish(self, drag: Drag) -> None:
        self._timer.stop()
        self._drag = None
        layer = self._editor.layer
        if len(drag.points) == 1 and drag.tool.has_line:
            self._editor.drop_preview()
            self._editor.say(f"{drag.tool.title}: {drag.tool.text}")
        elif layer is not None:
            self.finishing = drag.tool
            self._editor.run(self._make_request(drag, layer))
            self.finishing = None
        self.finished.emit()

    def _make_request(self, drag: Drag, layer: Labels) -> Request:
        tool, value = drag.tool, int(layer.selected_label)
        path, radius_px = np.array(drag.points), float(layer.brush_size) / 2
        gesture = Gesture(
            path, drag.plane, radius_px, value, drag.with_shift, self.strength, drag.known_dabs, drag.pick_px
        )
        protects = tool.protects and not drag.with_shift
        on_slice = _bind(tool.make_edit, gesture)
        if self.in_volume and drag.plane is not None and tool.make_volume_edit is not None:
            through = _bind(tool.make_volume_edit, gesture)
            return Request(through, protects=protects, in_volume=True, preview_edit=on_slice)
        return Request(on_slice, protects=protects)


def find_pixel(layer: Labels, event: Any) -> NDArray[np.float64]:  # noqa: ANN401 - napari's own event
    """Return where the mouse is, (y, x) in pixels of a layer."""
    return np.asarray(layer.world_to_data(event.position[-layer.ndim :]), np.float64)[-2:]


def shows_slices(event: Any) -> bool:  # noqa: ANN401 - napari's own event
    """Whether the last two axes are displayed, in their order."""
    n_axes = len(event.dims_point)
    return list(event.dims_displayed) == [n_axes - 2, n_axes - 1]


def _bind(make_edit: Callable[[Canvas, Gesture], Edit], gesture: Gesture) -> Callable[[Canvas], Edit]:
    return lambda canvas: make_edit(canvas, gesture)
