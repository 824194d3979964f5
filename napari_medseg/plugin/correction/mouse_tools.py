"""The active tool of the labels layer: one of ours, or a mode of napari."""

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.plugin.correction.drags import Drags, shows_slices
from napari_medseg.plugin.correction.editor import NO_CASE, NO_SLICES, Editor
from napari_medseg.plugin.correction.tools import OBJECT_BRUSH, Tool
from napari_medseg.plugin.widgets.notifications import show_errors

if TYPE_CHECKING:
    from napari import Viewer

MIN_STRENGTH, MAX_STRENGTH, STRENGTH_STEP = 0.25, 4.0, 1.25
PAINT, FILL, PAN = "paint", "fill", "pan_zoom"
PRESERVING_MODES = (PAINT, "polygon", PAN)
OBJECT_PAINTERS = ("smart", OBJECT_BRUSH.name)
NAPARI_DRAW = "draw"
"""Name of the function that napari adds to the callbacks of a layer for brush, eraser and fill."""
LEFT_BUTTON = 1
MAX_TAP_S = 0.5
"""A key that is held longer, or during a drag, lends its tool only until it is released."""


class MouseTools(QObject):
    """Binds the tools to the labels layer of the open case.

    Choosing a mode of napari leaves our tool, and so does Esc.

    Parameters
    ----------
    viewer, editor
        The window's viewer, and what applies the edits.

    Notes
    -----
    `changed` is emitted when another tool is active, or its settings changed.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", editor: Editor) -> None:
        super().__init__()
        self._viewer = viewer
        self._editor = editor
        self._layer: Labels | None = None
        self._tool: Tool | None = None
        self._replaced: list[Any] = []
        self._is_setting_mode = False
        self._after_drag: Callable[[], None] | None = None
        self._drags = Drags(editor)
        self._drags.finished.connect(self._on_finished)
        editor.case_changed.connect(self._on_case_changed)
        editor.applied.connect(self._on_applied)
        editor.painted.connect(self._on_painted)

    @property
    def tool(self) -> Tool | None:
        """Our active tool; `None` while a mode of napari is."""
        return self._tool

    @property
    def mode(self) -> str:
        """The mode of the labels layer; empty without one."""
        return "" if self._layer is None else str(self._layer.mode)

    @property
    def in_volume(self) -> bool:
        """Whether pieces, cuts and joins are those of the whole volume, not of the shown slice."""
        return self._drags.in_volume

    @property
    def strength(self) -> float:
        """Strength of the smart brush."""
        return self._drags.strength

    def close(self) -> None:
        """Let go of the layer."""
        self.leave()
        self._bind(None)

    def toggle(self, tool: Tool) -> None:
        """Activate a tool, or leave it if it is active; a click on its button."""
        if self._tool is tool:
            self.leave()
        else:
            self.activate(tool)
        self.changed.emit()

    def activate(self, tool: Tool) -> None:
        """Activate a tool until another one, or a mode of napari, is chosen."""
        if (layer := self._layer) is None:
            self._editor.say(NO_CASE)
        elif reason := tool.why_not(self._editor.task):
            self._editor.say(f"{reason}, so there is nothing to {tool.title}.")
        else:
            self._viewer.layers.selection.active = layer
            self._is_setting_mode = True
            layer.mode = PAN
            self._is_setting_mode = False
            self._replaced = []
            self._tool = tool
            layer.mouse_pan = False
            layer.cursor = "circle" if tool.has_brush and not tool.has_line else "cross"
            self.catch_escape()
            layer.bind_key("Z", lambda _: self.leave(), overwrite=True)
            layer.bind_key("Space", _move_view_while_held, overwrite=True)
            self._editor.say(f"{tool.title}: {tool.text}")
            self.changed.emit()

    def leave(self) -> None:
        """Leave our tool; drags then move the view."""
        if self._tool is None:
            return
        self._drags.drop()
        self._tool = self._after_drag = None
        if (layer := self._layer) is not None:
            layer.mouse_pan, layer.cursor = True, "standard"
            for key in ("Z", "Space"):
                layer.bind_key(key, None)
            self.free_escape()
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
        """Activate a tool while its key is down; after a short tap it stays active, as napari's own modes do."""
        before, mode, n_drags, began = self._tool, self.mode, self._drags.n_begun, time.monotonic()
        self.activate(tool)
        yield
        is_tap = self._drags.n_begun == n_drags and time.monotonic() - began < MAX_TAP_S
        if self._tool is not tool or is_tap:
            return
        if self._drags.is_under_way:
            self._after_drag = lambda: self._restore(before, mode)
        else:
            self._restore(before, mode)

    def set_in_volume(self, in_volume: bool) -> None:
        """Choose whether pieces, cuts and joins are those of the shown slice or of the whole volume."""
        if in_volume != self.in_volume:
            self._drags.in_volume = in_volume
            self.changed.emit()

    def change_strength(self, n_steps: int) -> None:
        """Make the smart brush accept more grey values, or fewer."""
        self._drags.strength = float(np.clip(self.strength * STRENGTH_STEP**n_steps, MIN_STRENGTH, MAX_STRENGTH))
        self._editor.say(f"smart brush: strength {self.strength:.2g}")
        self._drags.show()
        self.changed.emit()

    def cancel(self) -> None:
        """Drop the drag or preview under way, else leave the tool; the Esc key."""
        if self._drags.is_under_way or self._editor.has_request:
            self._drags.drop()
            self._editor.cancel()
            self._editor.say("dropped; nothing was changed")
        else:
            self.leave()

    def catch_escape(self) -> None:
        """Let Esc drop what is shown, not napari's polygon."""
        if self._layer is not None:
            self._layer.bind_key("Escape", lambda _: self.cancel(), overwrite=True)

    def free_escape(self) -> None:
        """Give Esc back to napari, unless one of our tools is active."""
        if self._layer is not None and self._tool is None:
            self._layer.bind_key("Escape", None)

    def _restore(self, tool: Tool | None, mode: str) -> None:
        message = self._editor.message
        if tool is not None:
            self.activate(tool)
        else:
            self.leave()
            if self._layer is not None and mode != PAN:
                self._layer.mode = mode
        self._editor.say(message)

    def _on_finished(self) -> None:
        self.free_escape()
        after, self._after_drag = self._after_drag, None
        if after is not None:
            after()

    def _on_case_changed(self) -> None:
        tool, layer = self._tool, self._editor.layer
        self._drags.drop()
        if layer is not self._layer:
            self.leave()
            self._bind(layer)
        if tool is not None and (layer is None or tool.why_not(self._editor.task)):
            self.leave()
        elif tool is not None and self._tool is None:
            self.activate(tool)
        self._on_mode()

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

    def _on_mode(self, _event: object = None) -> None:
        """Leave our tool for a mode of napari, whose brush and fill are replaced where they would damage objects."""
        layer = self._layer
        if layer is None or self._is_setting_mode:
            return
        mode, has_objects = str(layer.mode), self._editor.task.instances
        if mode != PAN and self._tool is not None:
            cursor, can_pan = layer.cursor, layer.mouse_pan
            self.leave()
            layer.cursor, layer.mouse_pan = cursor, can_pan
        if mode == FILL or (mode == PAINT and has_objects):
            draws = [call for call in layer.mouse_drag_callbacks if getattr(call, "__name__", "") == NAPARI_DRAW]
            self._replaced = draws or self._replaced
            for call in draws:
                layer.mouse_drag_callbacks.remove(call)
        else:
            self._replaced = []
        if has_objects:
            layer.preserve_labels = mode in PRESERVING_MODES
        self.changed.emit()

    def _on_drag(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401 - napari's own event
        """Begin a drag; napari calls this when a button is pressed on the canvas."""
        tool = self._tool or (OBJECT_BRUSH if self._replaced and self.mode == PAINT else None)
        fills = tool is None and bool(self._replaced) and self.mode == FILL
        if event.button != LEFT_BUTTON or self._editor.session is None or not (tool or fills):
            return
        if not shows_slices(event):
            self._editor.say(NO_SLICES)
        elif tool is None:
            self._drags.fill(layer, event)
        elif tool is OBJECT_BRUSH and layer.selected_label == 0:
            yield from self._erase(layer, event)
        else:
            self.catch_escape()
            yield from self._drags.follow(tool, layer, event)

    def _erase(self, layer: Labels, event: Any) -> Generator[None]:  # noqa: ANN401 - napari's own event
        """Paint with the background: napari's own brush, on all objects."""
        layer.preserve_labels = False
        for call in self._replaced:
            yield from call(layer, event)
        layer.preserve_labels = True

    def _on_wheel(self, _layer: Labels, event: Any) -> None:  # noqa: ANN401 - napari's own event
        if self._tool is not None and self._tool.name == "smart" and list(event.modifiers) == ["Control"]:
            self.change_strength(int(np.sign(event.delta[1])))
            event.handled = True

    def _on_painted(self) -> None:
        """Choose a free number after a polygon or a closed curve of napari: the next one is another object."""
        if self.mode in (PAINT, "polygon"):
            self._select_free_number()

    def _on_applied(self, edit: Edit) -> None:
        """Choose a free number if objects were painted, or the selected one was used up; a picked one stays."""
        layer, session, finishing = self._layer, self._editor.session, self._drags.finishing
        if layer is not None and session is not None and self._editor.task.instances:
            value = layer.selected_label
            n_new = int(edit.voxel_runs["length"][edit.voxel_runs["new"] == value].sum())
            paints = finishing is not None and finishing.name in OBJECT_PAINTERS
            if paints or (n_new and n_new == np.count_nonzero(session.draft.labels == value)):
                self._select_free_number()

    def _select_free_number(self) -> None:
        layer, session = self._layer, self._editor.session
        if layer is not None and session is not None and self._editor.task.instances and layer.selected_label:
            with show_errors():
                layer.selected_label = find_free_numbers(session.draft.labels)[0]


def _move_view_while_held(layer: Labels) -> Generator[None]:
    """Let drags move the view until the key is released."""
    layer.mouse_pan = True
    yield
    layer.mouse_pan = False
