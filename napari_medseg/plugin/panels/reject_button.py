"""The button that rejects the open case; its menu has reasons, a flag for a colleague, and a note."""

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_medseg.core.records import NO_NOTE, Case, CaseNote
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.plugin.widgets.speaking_button import SpeakingToolButton
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.case_notes.rejection_reasons import list_rejection_reasons
from napari_medseg.workflow.workspace import Workspace

TOOLTIP = "Not usable: close this case without a correction (R). The arrow: give a reason, flag the case, write a note"
FLAG_TEXT = "Flag: ask a colleague"


class RejectButton(SpeakingToolButton):
    """Rejects, and keeps what a person says about the case.

    Parameters
    ----------
    workspace, case_controller
        The project, and the controller of the open case.
    prompt
        Asks for a text.
    parent
        Qt parent.

    Notes
    -----
    `rejected` carries the reason, which is empty if none is given. `note_changed` carries the case whose note, flag or
    reason changed.
    """

    rejected = Signal(str)
    note_changed = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        case_controller: CaseController,
        prompt: InlinePrompt,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._case_controller = case_controller
        self._prompt = prompt
        self._why_not = ""
        self.note = NO_NOTE
        self.setObjectName("medseg-split")
        self.setText("Reject")
        self.setMinimumHeight(theme.BUTTON_HEIGHT_PX)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        self.setMenu(QMenu(self))
        self.menu().aboutToShow.connect(self.fill_menu)
        self.clicked.connect(lambda: self.rejected.emit(""))
        case_controller.opened.connect(self.read_note)

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        """Reject one case by a double click, not the next one, too."""
        if event is not None:
            event.accept()

    @property
    def describes(self) -> str:
        """Flag, reason and note of the open case as a text; empty if there are none."""
        current = self._case_controller.current
        return notes.describe_note(self.note, is_rejected=current is not None and current.saved_state == "rejected")

    def set_blocked(self, why_not: str, has_case: bool) -> None:
        """Say why the case cannot be rejected, if so; flag and note can be set while a case is open."""
        self._why_not = why_not
        theme.set_enabled(self, has_case, f"{TOOLTIP}\n{why_not}".strip(), why_not)

    @property
    def why_not(self) -> str:
        """Why the case cannot be rejected now; empty if it can."""
        return self._why_not

    def read_note(self) -> None:
        """Read the note of the open case."""
        current = self._case_controller.current
        self.note = NO_NOTE
        if current is not None:
            with show_errors():
                self.note = notes.get_case_note(self._workspace, current.case)

    def keep_reason(self, case: Case, reason: str) -> None:
        """Write why a case is rejected. Raises as `notes.set_reason` does."""
        self._keep(case, notes.set_reason(self._workspace, case, reason))

    def fill_menu(self) -> None:
        """List reasons, flag and note for the open case."""
        menu, current = self.menu(), self._case_controller.current
        menu.clear()
        if current is None:
            return
        task = self._workspace.tasks.get_task(current.case.task)
        with show_errors():
            for reason in list_rejection_reasons(self._workspace, task):
                entry = menu.addAction(theme.escape_mnemonic(f"Reject: {reason}"), partial(self.rejected.emit, reason))
                entry.setEnabled(not self._why_not)
        other = menu.addAction("Reject for another reason…", partial(self._ask_reason, current.case))
        other.setEnabled(not self._why_not)
        menu.addSeparator()
        flag = menu.addAction(FLAG_TEXT)
        flag.setCheckable(True)
        flag.setChecked(self.note.is_flagged)
        flag.toggled.connect(partial(self._set_flag, current.case))
        menu.addAction("Change the note…" if self.note.note else "Write a note…", partial(self.ask_note, current.case))

    def ask_note(self, case: Case) -> None:
        """Ask for the note of a case; an empty text removes it."""
        text = f"Note on {case.name}. Name no one: notes can be exported."
        self._prompt.ask_text(text, "what others should know", "Keep", partial(self._set_note, case), self.note.note)

    def _ask_reason(self, case: Case) -> None:
        def reject(reason: str) -> None:
            current = self._case_controller.current
            if current is not None and current.case.id == case.id:
                self.rejected.emit(reason)

        text = f"Why is {case.name} not usable? The reason is offered again."
        self._prompt.ask_reason(text, "reason", "Reject", reject)

    def _set_note(self, case: Case, text: str) -> None:
        self._write(case, lambda: notes.set_note(self._workspace, case, text))

    def _set_flag(self, case: Case, is_flagged: bool) -> None:
        self._write(case, lambda: notes.set_flag(self._workspace, case, is_flagged))

    def _write(self, case: Case, write: Callable[[], CaseNote]) -> None:
        with show_errors():
            self._keep(case, write())

    def _keep(self, case: Case, note: CaseNote) -> None:
        current = self._case_controller.current
        if current is not None and current.case.id == case.id:
            self.note = note
        self.note_changed.emit(case)
