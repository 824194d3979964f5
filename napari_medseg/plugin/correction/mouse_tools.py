"""The active tool: its drags on the labels layer, shown while the button is down and applied when it is released."""

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.editing import piece_tools
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.correction.editor import NO_CASE, Editor, Request
from napari_medseg.plugin.correction.tools import OBJECT_BRUSH, TOOLS, Gesture, Tool

if TYPE_CHECKING:
    from napari import Viewer

PREVIEW_AFTER_MS = 8
"""Moves of the mouse that come faster are shown together."""
MIN_STRENGTH, MAX_STRENGTH, STRENGTH_STEP = 0.25, 4.0, 1.25
PAINT, FILL, PAN = "paint", "fill", "pan_zoom"
OVERWRITING_MODES = ("erase", FILL)
LEFT_BUTTON = 1
MAX_TAP_S = 0.5
"""A key that is held longer, or during a drag, lends its tool only until it is released."""


class MouseTools(QObject):
    """Binds the tools to the labels layer of the open case.

    One of our tools is active, or one of napari's modes. Choosing a mode of napari leaves our tool, and Esc does.

    Parameters
    ----------
    viewer, editor
        The window's viewer, and what applies the edits.

    Notes
    -----
    `changed` is emitted when another tool is active, or its strength changed.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", editor: Editor) -> None:
        super().__init__()
        self._viewer = viewer
        self._editor = editor
        self._layer: Labels | None = None
        self._tool: Tool | None = None
        self._held_over: Callable[[], None] | None = None
        self._napari_draw: list[Any] = []
        self._is_setting_mode = False
        self._drag: _Drag | None = None
        self._n_drags = 0
        self.strength = 1.0
        self.in_volume = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PREVIEW_AFTER_MS)
        self._timer.timeout.connect(self._show_drag)
        editor.case_changed.connect(self._on_case_changed)
        editor.applied.connect(self._on_applied)

    @property
    def tool(self) -> Tool | None:
        """Our active tool; `None` while a mode of napari is."""
        return self._tool

    @property
    def mode(self) -> str:
        """The mode of the labels layer; empty without one."""
        return "" if self._layer is None else str(self._layer.mode)

    def close(self) -> None:
        """Let go of the layer."""
        self.leave()
        self._bind(None)

    def toggle(self, tool: Tool) -> None:
        """Activate a tool, or leave it if it is active; a click on its button."""
        self.leave() if self._tool is tool else self.activate(tool)

    def activate(self, tool: Tool) -> None:
        """Activate a tool until another one, or a mode of napari, is chosen."""
        if (layer := self._layer) is None:
            self._editor.say(NO_CASE)
        elif reason := tool.why_not(self._editor.task):
            self._editor.say(f"{reason}, so there is nothing to {tool.title}.")
        else:
            self._viewer.layers.selection.active = layer
            self._set_mode(PAN)
            self._tool = tool
            layer.mouse_pan = False
            layer.cursor = "circle" if tool.has_brush and not tool.has_line else "cross"
            self._bind_leaving_keys(layer)
            self._editor.say(f"{tool.title}: {tool.text}")
            self.changed.emit()

    def leave(self) -> None:
        """Leave our tool; the layer is then moved by drags."""
        if self._tool is None:
            return
        self._drop_drag()
        self._tool = None
        if (layer := self._layer) is not None:
            layer.mouse_pan, layer.cursor = True, "standard"
            self._free_leaving_keys(layer)
        self.changed.emit()

    def choose_mode(self, mode: str) -> None:
        """Activate a mode of napari, such as ``"paint"``."""
        if self._layer is None:
            self._editor.say(NO_CASE)
            return
        self.leave()
        self._viewer.layers.selection.active = self._layer
        self._layer.mode = mode
        self.changed.emit()

    def hold(self, tool: Tool) -> Generator[None]:
        """Activate a tool while its key is down; a key that is let go without a drag leaves it active."""
        before, mode, n_drags, began = self._tool, self.mode, self._n_drags, time.monotonic()
        self.activate(tool)
        yield
        is_tap = self._n_drags == n_drags and time.monotonic() - began < MAX_TAP_S
        if self._tool is tool and not is_tap:
            if self._drag is not None:
                self._held_over = lambda: self._restore(before, mode)
            else:
                self._restore(before, mode)

    def set_in_volume(self, in_volume: bool) -> None:
        """Choose whether pieces, cuts and joins are those of the shown slice or of the whole volume."""
        if in_volume != self.in_volume:
            self.in_volume = in_volume
            self.changed.emit()

    def change_strength(self, n_steps: int) -> None:
        """Make the smart brush accept more grey values, or fewer."""
        strength = self.strength * STRENGTH_STEP**n_steps
        self.strength = float(np.clip(strength, MIN_STRENGTH, MAX_STRENGTH))
        self._editor.say(f"smart brush: strength {self.strength:.2g}")
        self._show_drag()
        self.changed.emit()

    def cancel(self) -> None:
        """Drop the drag under way, else leave the tool; the Esc key."""
        if self._drag is not None or self._editor.has_request:
            self._drop_drag()
            self._editor.cancel()
            self._editor.say("dropped; nothing was changed")
        else:
            self.leave()

    def _restore(self, tool: Tool | None, mode: str) -> None:
        self._held_over = None
        if tool is not None:
            self.activate(tool)
        else:
            self.leave()
            if self._layer is not None and mode != PAN:
                self._layer.mode = mode

    def _set_mode(self, mode: str) -> None:
        if self._layer is not None:
            self._is_setting_mode = True
            self._layer.mode = mode
            self._is_setting_mode = False

    def _on_case_changed(self) -> None:
        tool = self._tool
        self._drop_drag()
        if self._editor.layer is not self._layer:
            self.leave()
            self._bind(self._editor.layer)
        if tool is not None and self._tool is None and self._layer is not None and not tool.why_not(self._editor.task):
            self.activate(tool)
        self._on_mode()
        self.changed.emit()

    def _bind(self, layer: Labels | None) -> None:
        if (before := self._layer) is not None:
            before.mouse_drag_callbacks.remove(self._on_drag)
            before.mouse_wheel_callbacks.remove(self._on_wheel)
            before.events.mode.disconnect(self._on_mode)
        self._layer = layer
        if layer is not None:
            layer.mouse_drag_callbacks.append(self._on_drag)
            layer.mouse_wheel_callbacks.append(self._on_wheel)
            layer.events.mode.connect(self._on_mode)

    def _bind_leaving_keys(self, layer: Labels) -> None:
        layer.bind_key("Escape", lambda _: self.cancel(), overwrite=True)
        layer.bind_key("Z", lambda _: self.leave(), overwrite=True)
        layer.bind_key("Space", _move_view_while_held, overwrite=True)

    def _free_leaving_keys(self, layer: Labels) -> None:
        for key in ("Escape", "Z", "Space"):
            layer.bind_key(key, None)

    def _on_mode(self, _event: object = None) -> None:
        """Leave our tool for a mode of napari, whose brush and fill are replaced where they would damage objects."""
        layer = self._layer
        if layer is None or self._is_setting_mode:
            return
        mode = str(layer.mode)
        if mode != PAN:
            self._leave_for(layer)
        self._napari_draw = []
        if mode == FILL or (mode == PAINT and self._editor.task.instances):
            self._napari_draw = [call for call in layer.mouse_drag_callbacks if getattr(call, "__name__", "") == "draw"]
            for call in self._napari_draw:
                layer.mouse_drag_callbacks.remove(call)
        if self._editor.task.instances:
            layer.preserve_labels = mode not in OVERWRITING_MODES
        self.changed.emit()

    def _leave_for(self, layer: Labels) -> None:
        if self._tool is not None:
            cursor, can_pan = layer.cursor, layer.mouse_pan
            self.leave()
            layer.cursor, layer.mouse_pan = cursor, can_pan

    def _on_drag(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401 - napari's own event
        """Called by napari at a press of the button; it goes on with each move, and at the release."""
        if event.button != LEFT_BUTTON or self._editor.session is None:
            return
        if self._tool is None and self._napari_draw and self.mode == PAINT and layer.selected_label == 0:
            yield from self._erase(layer, event)
            return
        tool = self._tool or (OBJECT_BRUSH if self.mode == PAINT and self._napari_draw else None)
        if tool is None and not (self.mode == FILL and self._napari_draw):
            return
        if list(event.dims_displayed) != list(range(self._viewer.dims.ndim))[-2:]:
            self._editor.say("the tools work on slices. Show the slices again (2D, first axis not displayed).")
            return
        if tool is None:
            self._fill(layer, event)
            return
        drag = self._drag = _Drag(tool, self._editor.find_plane(), _find_pixel(layer, event), "Shift" in event.modifiers)
        self._n_drags += 1
        if not tool.has_line:
            self._show_drag()
        yield
        while event.type == "mouse_move":
            drag.points.append(_find_pixel(layer, event))
            drag.with_shift = "Shift" in event.modifiers
            if self._drag is drag and not self._timer.isActive():
                self._timer.start()
            yield
        if self._drag is drag:
            self._finish_drag(drag)

    def _erase(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401 - napari's own event
        """Paint with the background: napari's own brush, on all objects."""
        layer.preserve_labels = False
        for call in self._napari_draw:
            yield from call(layer, event)
        layer.preserve_labels = True

    def _make_gesture(self, drag: "_Drag") -> Gesture:
        layer = self._layer
        brush = 1.0 if layer is None else float(layer.brush_size)
        value = 0 if layer is None else int(layer.selected_label)
        path = np.array(drag.points)
        return Gesture(path, drag.plane, brush / 2, value, with_shift=drag.with_shift, strength=self.strength)

    def _make_request(self, drag: "_Drag") -> Request:
        tool, gesture = drag.tool, self._make_gesture(drag)
        protects = tool.protects and not drag.with_shift
        if self.in_volume and gesture.plane is not None and (make_all := tool.make_volume_edit) is not None:
            return Request(
                lambda canvas: make_all(canvas, gesture),
                protects=protects,
                in_volume=True,
                preview_edit=lambda canvas: tool.make_edit(canvas, gesture),
            )
        return Request(lambda canvas: tool.make_edit(canvas, gesture), protects=protects)

    def _show_drag(self) -> None:
        """Show what the drag would do; a drag in a volume shows this slice."""
        self._timer.stop()
        drag, layer = self._drag, self._layer
        if drag is None or layer is None:
            return
        request = self._make_request(drag)
        shown = Request(request.preview_edit or request.make_edit, protects=request.protects)
        self._editor.begin(shown)
        if drag.tool.has_line:
            self._editor.preview.add_line(np.array(drag.points), layer)

    def _finish_drag(self, drag: "_Drag") -> None:
        self._timer.stop()
        self._drag = None
        if len(drag.points) == 1 and drag.tool.has_line:
            self._editor.cancel()
            self._editor.say(f"{drag.tool.title}: {drag.tool.text}")
        else:
            self._editor.run(self._make_request(drag))
        if self._held_over is not None:
            self._held_over()

    def _drop_drag(self) -> None:
        self._timer.stop()
        if self._drag is not None:
            self._drag = None
            self._editor.cancel()

    def _fill(self, layer: Labels, event: Any) -> None:  # noqa: ANN401 - napari's own event
        y, x = (int(np.floor(place + 0.5)) for place in _find_pixel(layer, event))
        plane, value = self._editor.find_plane(), int(layer.selected_label)
        seed = (y, x) if plane is None else (plane, y, x)
        is_planar = layer.n_edit_dimensions == len("YX")

        def fill(canvas: Any) -> Edit:  # noqa: ANN401
            return piece_tools.fill_region(canvas, seed, value, is_planar=is_planar)

        self._editor.run(Request(fill, protects=False, in_volume=not is_planar))

    def _on_wheel(self, _layer: Labels, event: Any) -> None:  # noqa: ANN401 - napari's own event
        if self._tool is not None and self._tool.name == "smart" and list(event.modifiers) == ["Control"]:
            self.change_strength(int(np.sign(event.delta[1])))
            event.handled = True

    def _on_applied(self, _edit: Edit) -> None:
        if (layer := self._layer) is not None and self._editor.task.instances and layer.selected_label:
            try:
                labels_tools.select_free_object(layer, self._editor.task)
            except MedSegError as error:
                self._editor.say(str(error))


class _Drag:
    """A drag under way: points (y, x) in pixels on a slice."""

    def __init__(self, tool: Tool, plane: int | None, start: NDArray[np.float64], with_shift: bool) -> None:
        self.tool = tool
        self.plane = plane
        self.points = [start]
        self.with_shift = with_shift


def _find_pixel(layer: Labels, event: Any) -> NDArray[np.float64]:  # noqa: ANN401 - napari's own event
    """Return where the mouse is, (y, x) in pixels of a layer."""
    return np.asarray(layer.world_to_data(event.position[-layer.ndim :]), np.float64)[-2:]


def _move_view_while_held(layer: Labels) -> Generator[None]:
    """Let drags move the view until the key is released."""
    layer.mouse_pan = True
    yield
    layer.mouse_pan = False
