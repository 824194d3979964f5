"""The row of tools in the Labels section, with the message line below it."""

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QToolButton, QVBoxLayout, QWidget

from napari_medseg.core.editing.edit import Edit
from napari_medseg.plugin.correction.editor import Editor
from napari_medseg.plugin.correction.mouse_tools import MouseTools
from napari_medseg.plugin.correction.piece_actions import PieceActions
from napari_medseg.plugin.correction.tool_icons import make_icon
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS, TOOLS, PieceAction, Tool
from napari_medseg.plugin.widgets import theme

ICON_PX = 18
BUTTON_PX = 22
PIECE_TEXT = "the piece under the mouse: keys that rename, delete, smooth, grow it (menu)"
SPECKS_TEXT = "remove specks: pieces below a size (menu)"
SWAP_TEXT = "swap two labels (menu)"
NAPARI_TOOLS = (
    ("pan_zoom", "move", "Z", "drag moves the view"),
    ("paint", "brush", "P", "paints with the selected label; [ and ] change its size"),
    ("erase", "eraser", "E", "paints with the background"),
    ("fill", "fill", "F", "fills what is connected under the mouse with the label"),
    ("pick", "pick", "L", "selects the label under the mouse"),
)
OBJECT_TEXTS = {
    "paint": "a stroke makes a new object; started inside one, it extends it; Shift: over others",
    "fill": "gives the object under the mouse the selected number; never fills the background",
}
NO_LABELS = "Open a case and predict it first"


class ToolRow(QWidget):
    """Buttons of the tools, and what the last tool did.

    Parameters
    ----------
    editor, mouse_tools, piece_actions
        What the buttons call.
    theme_name
        napari's theme, for the colour of the icons.
    """

    def __init__(self, editor: Editor, mouse_tools: MouseTools, piece_actions: PieceActions, theme_name: str) -> None:
        super().__init__()
        self._editor = editor
        self._mouse_tools = mouse_tools
        self._piece_actions = piece_actions
        self._modes: dict[str, QToolButton] = {}
        self._tools: dict[str, QToolButton] = {}
        self._icons: list[tuple[QToolButton, str]] = []
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        row = QHBoxLayout()
        row.setContentsMargins(2, 0, 2, 0)
        row.setSpacing(0)
        self._rows.addLayout(row)
        self._add_tools(row)
        self._add_menus(row)
        row.addStretch(1)
        self.message = QLabel("")
        self.message.setObjectName("medseg-message")
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.message.setVisible(False)
        self._rows.addWidget(self.message)
        self._done = ""
        editor.said.connect(self._say)
        editor.applied.connect(self._keep_done)
        editor.painted.connect(self._drop_done)
        editor.case_changed.connect(self._on_case_changed)
        mouse_tools.changed.connect(self._show_active)
        self.set_theme(theme_name)
        self._show_active()

    def set_theme(self, theme_name: str) -> None:
        """Draw the icons in the text colour of a napari theme."""
        self._theme_name = theme_name
        for button, name in self._icons:
            button.setIcon(make_icon(name, theme.get_text_colour(theme_name)))

    def toggle_in_volume(self) -> None:
        """Switch between the shown slice and the volume, as a click does."""
        if self._in_volume.isEnabled():
            self._in_volume.click()
            where = "the whole volume" if self._mouse_tools.in_volume else "the shown slice"
            self._editor.say(f"pieces, cuts and joins: in {where}")

    def _add_tools(self, row: QHBoxLayout) -> None:
        for mode, title, key, text in NAPARI_TOOLS:
            self._modes[mode] = self._add_button(row, mode, f"{title} ({key}): {text}")
            self._modes[mode].clicked.connect(partial(self._mouse_tools.choose_mode, mode))
        for tool in TOOLS:
            self._tools[tool.name] = self._add_button(row, tool.name, _make_tooltip(tool))
            self._tools[tool.name].clicked.connect(partial(self._mouse_tools.toggle, tool))
        for button in (*self._modes.values(), *self._tools.values()):
            button.setCheckable(True)

    def _add_menus(self, row: QHBoxLayout) -> None:
        """Add menus, and the switch of the volume; one row, as the window has 720 px in height."""
        self._piece = self._add_menu_button(row, "keep", PIECE_TEXT, self._fill_pieces)
        self._specks = self._add_menu_button(row, "specks", SPECKS_TEXT, self._fill_specks)
        self._swap = self._add_menu_button(row, "swap", SWAP_TEXT, self._fill_swaps)
        self._in_volume = self._add_button(row, "volume", "")
        self._in_volume.setCheckable(True)
        self._in_volume.toggled.connect(self._mouse_tools.set_in_volume)

    def _add_button(self, row: QHBoxLayout, name: str, tooltip: str) -> QToolButton:
        button = theme.make_tool_button("", tooltip, "medseg-icon")
        button.setIconSize(QSize(ICON_PX, ICON_PX))
        button.setFixedSize(BUTTON_PX + 4, BUTTON_PX)
        button.setAccessibleName(tooltip)
        self._icons.append((button, name))
        row.addWidget(button)
        return button

    def _add_menu_button(self, row: QHBoxLayout, name: str, tooltip: str, fill: Callable[[QMenu], None]) -> QToolButton:
        button = self._add_button(row, name, tooltip)
        menu = QMenu(button)
        menu.aboutToShow.connect(partial(fill, menu))
        menu.aboutToHide.connect(self._piece_actions.cancel)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button

    def _fill_pieces(self, menu: QMenu) -> None:
        menu.clear()
        colour = theme.get_text_colour(self._theme_name)
        for action in PIECE_ACTIONS:
            if not action.why_not(self._editor.task):
                key = action.key.replace("Shift-", "Shift+")
                entry = menu.addAction(make_icon(action.name, colour), f"{action.title}\t{key}")
                entry.triggered.connect(partial(self._explain, action))

    def _fill_specks(self, menu: QMenu) -> None:
        menu.clear()
        for size, text in self._piece_actions.list_speck_sizes():
            self._add_entry(menu, text, partial(self._piece_actions.begin_removing_specks, size))

    def _fill_swaps(self, menu: QMenu) -> None:
        menu.clear()
        for one, other, text in self._piece_actions.list_swaps():
            self._add_entry(menu, text, partial(self._piece_actions.begin_swapping, one, other))

    def _add_entry(self, menu: QMenu, text: str, begin: Callable[[], None]) -> None:
        """Add an entry that shows what it does while the mouse is on it, and does it when it is chosen."""
        entry: QAction = menu.addAction(text)
        entry.hovered.connect(begin)

        def choose() -> None:
            begin()  # the menu that closed has dropped what was shown
            self._piece_actions.commit()

        entry.triggered.connect(choose)

    def _explain(self, action: PieceAction) -> None:
        key = action.key.replace("Shift-", "Shift+")
        self._editor.say(f"{action.title}: point at a piece and press {key}; {action.text}")

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))
        self.message.setToolTip(text)

    def _keep_done(self, edit: Edit) -> None:
        self._done = edit.message

    def _drop_done(self) -> None:
        """Take back what a tool said that it did: it may have been undone."""
        if self._done and self.message.text() == self._done:
            self._say("")
        self._done = ""

    def _on_case_changed(self) -> None:
        self._say("")
        self._show_active()

    def _show_active(self) -> None:
        tool, task, has_labels = self._mouse_tools.tool, self._editor.task, self._editor.layer is not None
        for mode, button in self._modes.items():
            button.setChecked(tool is None and self._mouse_tools.mode == mode)
            button.setEnabled(has_labels)
        for known in TOOLS:
            button = self._tools[known.name]
            button.setVisible(not known.why_not(task))
            button.setChecked(tool is known)
            theme.set_enabled(button, has_labels, _make_tooltip(known), NO_LABELS)
        for mode, title, key, text in NAPARI_TOOLS:
            shown = OBJECT_TEXTS.get(mode, text) if task.instances else text
            theme.set_enabled(self._modes[mode], has_labels, f"{title} ({key}): {shown}", NO_LABELS)
        self._show_whole_label_tools(has_labels)

    def _show_whole_label_tools(self, has_labels: bool) -> None:
        task = self._editor.task
        is_volume = has_labels and self._editor.find_plane() is not None
        theme.set_enabled(self._piece, has_labels, PIECE_TEXT, NO_LABELS)
        theme.set_enabled(self._specks, has_labels, SPECKS_TEXT, NO_LABELS)
        self._swap.setVisible(len(task.labels) > 1 and not task.instances)
        theme.set_enabled(self._swap, has_labels, SWAP_TEXT, NO_LABELS)
        self._in_volume.setVisible(is_volume or not has_labels)
        text = "on: pieces, cuts and joins on all slices; off: on this slice (I)"
        theme.set_enabled(self._in_volume, is_volume, text, NO_LABELS)
        self._in_volume.setChecked(self._mouse_tools.in_volume)


def _make_tooltip(tool: Tool) -> str:
    drag = "hold and drag" if tool.has_line else "then paint"
    return f"{tool.title} ({tool.key}, {drag}): {tool.text}"
