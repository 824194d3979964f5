"""The last row of the improve section: the effort per version, and a menu that makes another version live."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.workflow.meter import effort
from napari_medseg.workflow.workspace import Workspace

TOOLTIP = "Make another version live: an earlier one again, or one that was kept back"


class VersionsRow(QWidget):
    """Shows the effort per version, and makes another version live.

    Notes
    -----
    `chosen` carries a version, and the reason why it goes live; a version that was live before needs none.
    """

    chosen = Signal(str, str)

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.prompt = InlinePrompt()
        self.button = theme.make_tool_button("Versions ▾", TOOLTIP)
        self.button.setPopupMode(self.button.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(QMenu(self.button))
        self._effort = QElidingLabel("")
        self._effort.setObjectName("medseg-muted")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.prompt)
        layout.addWidget(make_row(self._effort, self.button))

    def show_task(self, task: str, live: str) -> None:
        """List the versions of a task but the live one: those that were live before, newest first, then the others."""
        registry = self._workspace.registry
        earlier = [change.model for change in reversed(registry.read_history(task))]
        known = [card.id for card in registry.list_versions(task)]
        bundled = [model for model in known if registry.get_folder(model).is_relative_to(registry.bundled_dir)]
        again = [model for model in dict.fromkeys([*earlier, *bundled]) if model != live and model in known]
        menu = self.button.menu()
        menu.clear()
        for model in again:
            menu.addAction(f"Make {model} live again", partial(self.chosen.emit, model, ""))
        others = [model for model in reversed(known) if model != live and model not in again]
        if again and others:
            menu.addSeparator()
        for model in others:
            menu.addAction(f"Promote {model}, which never was live…", partial(self._ask_reason, model))
        self.button.setVisible(bool(again or others))
        self._show_effort(task)

    def _ask_reason(self, model: str) -> None:
        text = f"No comparison made {model} live. Why should it go live now?"
        self.prompt.ask_reason(text, "reason, for the model card", "Promote", partial(self.chosen.emit, model))

    def _show_effort(self, task: str) -> None:
        found = effort.read_efforts(self._workspace, task)
        self._effort.setText(effort.format_effort(found))
        self._effort.setToolTip(
            "\n".join(
                f"{one.model}: {one.n_cases} accepted, {one.seconds:.0f} s and {one.changed_voxels:,.0f} voxels each"
                for one in found
            )
        )
