"""The correction tools of one dock: editor, mouse, keys, and the row of buttons, tied together."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtWidgets import QAbstractSpinBox, QLineEdit, QWidget

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.correction.editor import Editor
from napari_medseg.plugin.correction.mouse_tools import MouseTools
from napari_medseg.plugin.correction.piece_actions import PieceActions
from napari_medseg.plugin.correction.shifted_keys import Hold, ShiftedKeys
from napari_medseg.plugin.correction.tool_row import NAPARI_TOOLS, ToolRow
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS, TOOLS, PieceAction, Tool
from napari_medseg.plugin.keymap import N_LABEL_KEYS, KeyBinding, make_key_callback
from napari_medseg.plugin.layers import METADATA_KEY
from napari_medseg.plugin.widgets.key_places import AmericanKeys

if TYPE_CHECKING:
    from napari import Viewer

UPPER_ROW = ("Shift-=", "Shift--", *(f"Shift-{number + 1}" for number in range(N_LABEL_KEYS)))
"""Keys that napari cannot name on all keyboards; `ShiftedKeys` handles them."""


class CorrectionTools:
    """Makes the tools and their row.

    Parameters
    ----------
    viewer, case_controller
        The window's viewer, and the controller of the open case.
    get_task
        Returns the task of the open case.
    """

    def __init__(self, viewer: "Viewer", case_controller: CaseController, get_task: Callable[[], Task]) -> None:
        self.editor = Editor(viewer, case_controller, get_task)
        self.mouse_tools = MouseTools(viewer, self.editor)
        self.piece_actions = PieceActions(self.editor, self.mouse_tools)
        self.row = ToolRow(self.editor, self.mouse_tools, self.piece_actions, viewer.theme)
        self.shifted_keys = ShiftedKeys(self._list_holds(), self.editor.drop_preview)
        self._american_keys = AmericanKeys()
        self._viewer = viewer
        self._case_controller = case_controller
        viewer.layers.events.inserted.connect(self._bind_labels_modes)
        self.editor.case_changed.connect(self._bind_image_keys)

    def close(self) -> None:
        """Let go of the layer, the keys and the overlay."""
        self._viewer.layers.events.inserted.disconnect(self._bind_labels_modes)
        self.shifted_keys.close()
        self._american_keys.close()
        self.mouse_tools.close()
        self.editor.close()

    def watch(self, widgets: Sequence[QWidget]) -> None:
        """Handle the keys that napari has no name for on these widgets, the canvas; a field keeps its keys."""
        others = [widget for widget in widgets if not isinstance(widget, QLineEdit | QAbstractSpinBox)]
        self._american_keys.watch(others)
        # last, so that it is asked first: it knows a held key by its place, also when Shift is up before it
        self.shifted_keys.watch(others)

    def list_key_bindings(self) -> list[KeyBinding]:
        """Return the keys of the tools, for the keyboard map and the page of keys."""
        tools = [KeyBinding(tool.key, _describe(tool), _hold_tool(self.mouse_tools, tool)) for tool in TOOLS]
        actions = [
            KeyBinding(
                action.key,
                action.text,
                _hold_action(self.piece_actions, action),
                is_bound=action.key not in UPPER_ROW,
            )
            for action in PIECE_ACTIONS
        ]
        rename = KeyBinding(
            f"Shift-1 to {N_LABEL_KEYS}", "give the piece under the mouse this label", lambda: None, is_bound=False
        )
        volume = KeyBinding("I", "pieces, cuts, joins: on this slice, or in the whole volume", self._toggle_in_volume)
        wheel = KeyBinding("Ctrl+wheel", "smart brush: accept more grey values, or fewer", lambda: None, is_bound=False)
        escape = KeyBinding("Esc", "drop what a tool shows, else leave the tool", lambda: None, is_bound=False)
        return [*tools, wheel, escape, *actions, rename, volume]

    def _toggle_in_volume(self) -> None:
        self.row.toggle_in_volume()

    def _bind_image_keys(self) -> None:
        """Let the keys of the tools work on the image layer too, where napari has an O and a Y of its own.

        Both turn the plane of a 3-D view.
        """
        current = self._case_controller.current
        if current is not None and not current.borrowed:
            for tool in TOOLS:
                call = make_key_callback(_hold_tool(self.mouse_tools, tool))
                current.image_layer.bind_key(tool.key, call, overwrite=True)

    def _bind_labels_modes(self, event: Any) -> None:  # noqa: ANN401 - napari's own event
        """Let the keys of brush, eraser, fill and pick leave the layer of the reviewed area for the labels."""
        layer = event.value
        if isinstance(layer, Shapes) and METADATA_KEY in layer.metadata:
            for mode, _, key, _ in NAPARI_TOOLS:
                layer.bind_key(key, make_key_callback(partial(self.mouse_tools.choose_mode, mode)), overwrite=True)

    def _list_holds(self) -> dict[str, Hold]:
        holds: dict[str, Hold] = {
            action.key: _hold_action(self.piece_actions, action) for action in PIECE_ACTIONS if action.key in UPPER_ROW
        }
        for number in range(1, N_LABEL_KEYS + 1):
            holds[f"Shift-{number}"] = partial(self.piece_actions.rename_while_held, number)
        return holds


def _describe(tool: Tool) -> str:
    return f"{tool.title}{' (hold the key)' if tool.has_line else ''}: {tool.text}"


def _hold_tool(mouse_tools: MouseTools, tool: Tool) -> Hold:
    def hold() -> Generator[None]:
        yield from mouse_tools.hold(tool)

    return hold


def _hold_action(piece_actions: PieceActions, action: PieceAction) -> Hold:
    def act() -> Generator[None]:
        yield from piece_actions.act_while_held(action)

    return act
