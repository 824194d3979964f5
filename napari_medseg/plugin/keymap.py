"""The keyboard map: one list, from which the keys are bound, the tooltips are made and the page under F1 is written."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from inspect import isgeneratorfunction
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_medseg.core.html_templates import render_html

if TYPE_CHECKING:
    from napari import Viewer

HELP_SIZE_PX = (460, 600)
N_LABEL_KEYS = 9
NAPARI_KEYS = (
    ("P  E  F  L  Z", "paint, erase, fill, pick a label, move the view"),
    ("[  ]", "smaller, larger brush"),
    ("X", "swap the label with the background"),
    ("Left  Right", "previous slice, next slice"),
    ("Ctrl+R", "fit the view"),
    ("Space (hold)", "move the view while held"),
)


@dataclass(frozen=True)
class KeyBinding:
    """One key, what it does, and what it calls; a generator function does its second half when the key is let go."""

    key: str
    text: str
    action: Callable[[], Any]


class KeyMap:
    """Bind keys to a viewer, and let go of them again.

    Parameters
    ----------
    viewer
        Of the window. A layer's own keys, and keys that the user has set in napari, come before these.
    keys
        To bind.
    """

    def __init__(self, viewer: "Viewer", keys: Sequence[KeyBinding]) -> None:
        self._viewer = viewer
        self.keys = tuple(keys)
        for key in self.keys:
            viewer.bind_key(key.key, _make_key_callback(key.action), overwrite=True)

    def close(self) -> None:
        """Let go of the keys."""
        for key in self.keys:
            self._viewer.bind_key(key.key, None)


class KeyHelpDialog(QDialog):
    """All keys on one page; it blocks nothing."""

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


def build_help_html(keys: Sequence[KeyBinding]) -> str:
    """Lay the keys out as HTML for Qt's rich text."""
    ours = [(key.key, key.text) for key in keys]
    values = {"sections": {"MedSeg": ours, "napari, on the labels layer": NAPARI_KEYS}}
    return render_html("napari_medseg.plugin", "key_help.html", values)


def _make_key_callback(call: Callable[[], Any]) -> Callable[["Viewer"], Any]:
    """Give the function the viewer that napari passes, and keep a generator a generator, as napari asks for it."""
    if isgeneratorfunction(call):

        def held(_viewer: "Viewer") -> Generator[None]:
            yield from call()

        return held

    def pressed(_viewer: "Viewer") -> None:
        call()

    return pressed
