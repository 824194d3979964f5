"""The keyboard map: one list of key bindings, which is also shown on the F1 help page."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any

from app_model.types import KeyBinding as AppModelKeyBinding
from app_model.types import KeyCode, KeyMod
from napari.layers import Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_medseg.core.html_templates import render_html
from napari_medseg.core.tasks.display_windows import PRESETS
from napari_medseg.plugin.layers import METADATA_KEY

if TYPE_CHECKING:
    from napari import Viewer

    from napari_medseg.plugin.dock import Dock

HELP_SIZE_PX = (460, 600)
STATUS_HELP = "F1: all keys"
"""Instead of napari's help on our layers: it lists digits for tools, but there digits choose labels."""
N_LABEL_KEYS = 9
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
"""Ctrl, on macOS Cmd, as napari's own undo; the text "Ctrl-Z" would be the physical Ctrl key there."""
NAPARI_KEYS = (
    ("P  E  F  L  Z", "paint, erase, fill, pick a label, move the view"),
    ("[  ]", "smaller, larger brush"),
    ("X", "swap the label with the background"),
    ("Left  Right", "previous slice, next slice"),
    (KeyMod.CtrlCmd | KeyCode.KeyR, "fit the view"),
    ("Space (hold)", "move the view while held"),
    ("Middle button, drag", "MedSeg: width of the window to the right, brighter upwards"),
)


@dataclass(frozen=True)
class KeyBinding:
    """A key, its description, and its action. The second part of a generator action runs when the key is released.

    A key that is not bound is only listed: something else handles it.
    """

    key: str | int
    text: str
    action: Callable[[], Any]
    is_bound: bool = True


def make_key_bindings(dock: "Dock") -> list[KeyBinding]:
    """List the keys and what they do; a new key is a line here."""
    return [
        KeyBinding("G", "predict this case", dock.confirm_and_predict),
        KeyBinding("A", "accept, and open the next case", dock.review_panel.accept),
        KeyBinding("R", "reject, and open the next case", dock.review_panel.reject),
        KeyBinding("S", "previous case of the list", lambda: dock.worklist.step(-1)),
        KeyBinding("D", "next case of the list", lambda: dock.worklist.step(+1)),
        KeyBinding("Shift-S", "back to the case that was accepted last", dock.worklist.open_last_accepted),
        KeyBinding("U", "use this image, or the last drop, for another task (menu with undo)", dock.show_list_commands),
        KeyBinding("Shift-R", "remove this case from the list", dock.task_assigner.remove_open_case),
        KeyBinding("Q", "hide the labels while the key is held", dock.hide_labels_while_held),
        KeyBinding("W", "show labels filled or as contours", dock.toggle_contour),
        KeyBinding(
            "C",
            "mark a rectangle as reviewed: training ignores the rest of the image",
            dock.review_region.start_drawing,
        ),
        KeyBinding("T", "show where the model is unsure", dock.labels_panel.toggle_uncertainty),
        *(
            KeyBinding(f"F{number}", f"window of grey values: {preset}", partial(dock.views.show_preset, preset))
            for number, preset in enumerate(PRESETS, start=2)
        ),
        KeyBinding(UNDO_KEY, "undo: unlimited, across slices, also after a restart", dock.case_controller.undo),
        KeyBinding(REDO_KEY, "redo", dock.case_controller.redo),
        *dock.correction.list_key_bindings(),
        *dock.guidance.list_key_bindings(),
        KeyBinding("F1", "this page", dock.show_keys),
    ]


class KeyMap:
    """Binds keys to a viewer and releases them on `close`.

    Parameters
    ----------
    viewer
        Viewer to bind to. Keys of a layer and keys that the user set in napari take precedence.
    keys
        Keys to bind.
    """

    def __init__(self, viewer: "Viewer", keys: Sequence[KeyBinding]) -> None:
        self._viewer = viewer
        self.keys = tuple(keys)
        for key in self._list_bound():
            viewer.bind_key(key.key, make_key_callback(key.action), overwrite=True)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.events.help.connect(self._on_help, position="last")  # after the status bar has shown napari's

    def _on_inserted(self, event: Any) -> None:  # noqa: ANN401 - napari's own event
        """Bind our keys on our Shapes layer, too: it has an I, R, S, D and T of its own."""
        layer = event.value
        if isinstance(layer, Shapes) and METADATA_KEY in layer.metadata:
            for key in self._list_bound():
                layer.bind_key(key.key, make_key_callback(key.action), overwrite=True)

    def _on_help(self) -> None:
        active = self._viewer.layers.selection.active
        if active is not None and METADATA_KEY in active.metadata and self._viewer.help not in ("", STATUS_HELP):
            self._viewer.help = STATUS_HELP

    def close(self) -> None:
        """Release the keys."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.events.help.disconnect(self._on_help)
        for key in self._list_bound():
            self._viewer.bind_key(key.key, None)

    def _list_bound(self) -> list[KeyBinding]:
        return [key for key in self.keys if key.is_bound]


class KeyHelpDialog(QDialog):
    """A non-modal dialog with all keys on one page."""

    def __init__(self, keys: Sequence[KeyBinding], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("MedSeg keys")
        page = QTextBrowser(self)
        page.setHtml(build_help_html(keys))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(page)
        self.resize(*HELP_SIZE_PX)


def get_key_title(key: str | int) -> str:
    """Return a key as it is written on the keyboards of this system: Ctrl+Z, on macOS Cmd+Z."""
    return key.replace("Shift-", "Shift+") if isinstance(key, str) else AppModelKeyBinding.from_int(key).to_text()


def build_help_html(keys: Sequence[KeyBinding]) -> str:
    """Return the list of keys as HTML for Qt rich text."""
    ours = [(get_key_title(key.key), key.text) for key in keys]
    theirs = [(get_key_title(key), text) for key, text in NAPARI_KEYS]
    values = {"sections": {"MedSeg": ours, "napari, on the labels layer": theirs}}
    return render_html("napari_medseg.plugin", "key_help.html", values)


def make_key_callback(call: Callable[[], Any]) -> Callable[["Viewer"], Any]:
    """Wrap an action so that it accepts the viewer from napari. A generator function stays a generator function."""
    if isgeneratorfunction(call):

        def held(_viewer: "Viewer") -> Generator[None]:
            yield from call()

        return held

    def pressed(_viewer: "Viewer") -> None:
        call()

    return pressed
