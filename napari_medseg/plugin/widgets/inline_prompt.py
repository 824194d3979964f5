"""A question inside the dock, used instead of a modal dialog."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFrame, QLineEdit, QMenu, QPushButton, QScrollArea, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel

Choice = tuple[str, Callable[[], None]]
PromptAnswer = tuple[str, Callable[[], None] | Sequence[tuple[str, Sequence[Choice]]]]
"""The text of a button, and what it calls, or the sections of its menu: a title and choices each."""

SPACING_PX = 4
UNDO = "Undo"
MAX_LASTING = 4
"""Of questions that come back; nobody clicks through a longer row of them."""


@dataclass(frozen=True, eq=False)
class _Question:
    text: str
    answers: Sequence[PromptAnswer]
    tasks: frozenset[str] = frozenset()
    """With whose lists it is shown; empty: with all."""


class InlinePrompt(QFrame):
    """Shows one question with its answers as buttons, and scrolls to it; hidden if there is no question."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("medseg-question")
        self._text = WrappedLabel("", self)
        self._reason = QLineEdit(self)
        self._reason.textChanged.connect(self._on_typed)
        self._reason.returnPressed.connect(self._on_return)
        self._may_be_empty = False
        self._offers_undo = False
        self._before = ""
        self._lasting: list[_Question] = []
        self._task = ""
        self._is_of_case = False
        self._keep_text: Callable[[str], None] | None = None
        self._buttons = QFlowLayout()  # long answers take a second line; in a row they would widen the dock
        self._buttons.setHorizontalSpacing(SPACING_PX)
        self._buttons.setVerticalSpacing(SPACING_PX)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 4, 4)
        layout.setSpacing(SPACING_PX)
        layout.addWidget(self._text)
        layout.addWidget(self._reason)
        layout.addLayout(self._buttons)
        self.hide()

    @property
    def text(self) -> str:
        """The displayed question; empty if there is none."""
        return "" if self.isHidden() else self._text.text()

    def ask(self, text: str, answers: Sequence[PromptAnswer]) -> None:
        """Show a question; an answer, or a choice in the menu of an answer, hides it and calls its function."""
        self._reason.hide()
        self._show(text, answers)

    def ask_of_case(self, text: str, answers: Sequence[PromptAnswer]) -> None:
        """Ask as `ask` about the open case; `forget_case` withdraws the question, whose answers mean that case."""
        self.ask(text, answers)
        self._is_of_case = True

    def forget_case(self) -> None:
        """Withdraw a question about the case that was open."""
        if self._is_of_case and not self.isHidden():
            self._hide_and_call(_do_nothing)()

    def ask_lasting(self, text: str, answers: Sequence[PromptAnswer], tasks: Sequence[str] = ()) -> None:
        """Ask as `ask`; a question with a choice comes back if others were asked before it was answered.

        With `tasks` it is shown only while the list of one of them is, as `show_for` says, and comes back with it.
        """
        self._forget(text)
        question = _Question(text, answers, frozenset(tasks))
        if len(answers) > 1:
            self._lasting = [*self._lasting, question][-MAX_LASTING:]
        if self._is_meant_now(question):
            self.ask(text, answers)

    def show_for(self, task: str) -> None:
        """Set aside a question that belongs to lists of other tasks, and show one that waits for this list."""
        self._task = task
        shown = next((one for one in self._lasting if one.text == self.text), None)
        if shown is not None and not self._is_meant_now(shown):
            self.hide()
        self._show_waiting()

    def leave(self) -> None:
        """Hide the question; a text that was typed for it, and harms nobody, is kept."""
        keep, self._keep_text = self._keep_text, None
        typed = self._reason.text().strip()
        if not self.isHidden() and keep is not None and typed != self._before:
            keep(typed)
        self.hide()

    def ask_reason(self, text: str, placeholder: str, answer: str, then: Callable[[str], None]) -> None:
        """Ask for a typed reason; the answer button is disabled until text is entered."""
        self._ask_for_text(text, placeholder, answer, then, "", may_be_empty=False)

    def ask_text(self, text: str, placeholder: str, answer: str, then: Callable[[str], None], value: str) -> None:
        """Ask for a text, which may be empty; `value` is the text before. `leave` keeps what was typed."""
        self._ask_for_text(text, placeholder, answer, then, value, may_be_empty=True)
        self._before, self._keep_text = value, then

    def _ask_for_text(
        self, text: str, placeholder: str, answer: str, then: Callable[[str], None], value: str, *, may_be_empty: bool
    ) -> None:
        self._reason.hide()
        self._may_be_empty = may_be_empty
        self._reason.setText(value)
        self._reason.setPlaceholderText(placeholder)
        self._show(text, [(answer, lambda: then(self._reason.text().strip())), ("Cancel", _do_nothing)])
        self._reason.show()
        self._on_typed(value)
        self._reason.setFocus()

    def withdraw(self, text: str) -> None:
        """Remove a question without an answer, because it was settled in another way."""
        self._forget(text)
        if self.text == text:
            self._hide_and_call(_do_nothing)()

    def forget_undo(self) -> None:
        """Hide the questions that offer to take a command back: a person who decides the next case has gone on."""
        self._lasting = [one for one in self._lasting if one.answers[0][0] != UNDO]
        if not self.isHidden() and self._offers_undo:
            self.withdraw(self.text)

    def press_answer(self, label: str) -> None:
        """Click the answer with this label; raise `ValueError` if there is none."""
        for index in range(self._buttons.count()):
            pressed = self._buttons.itemAt(index).widget()
            if pressed.text() == label:
                pressed.click()
                return
        raise ValueError(f"no answer {label!r} to {self._text.text()!r}")

    def press_choice(self, label: str, section: str, choice: str) -> None:
        """Choose in the menu of an answer; raise `ValueError` if there is no such choice."""
        menus = [one.menu() for one in self.findChildren(QPushButton) if one.text() == label and one.menu() is not None]
        sections = [action.menu() for menu in menus for action in menu.actions() if action.text() == section]
        for action in (each for menu in sections if menu is not None for each in menu.actions()):
            if action.text() == theme.escape_mnemonic(choice):
                action.trigger()
                return
        raise ValueError(f"no choice {section!r}, {choice!r} of {label!r} to {self._text.text()!r}")

    def _on_typed(self, typed: str) -> None:
        if not self._reason.isHidden():
            is_enough = bool(typed.strip()) or self._may_be_empty
            theme.set_enabled(self._buttons.itemAt(0).widget(), is_enough, "", "Type the reason first; it is kept")

    def _on_return(self) -> None:
        if (answer := self._buttons.itemAt(0)) is not None and answer.widget().isEnabled():
            answer.widget().click()

    def _show(self, text: str, answers: Sequence[PromptAnswer]) -> None:
        while (item := self._buttons.takeAt(0)) is not None:
            item.widget().hide()  # deleted only later, and until then it would lie over the new answers
            item.widget().deleteLater()
        self._text.setText(text)
        self._offers_undo = bool(answers) and answers[0][0] == UNDO
        self._is_of_case, self._keep_text = False, None
        for index, (label, answer) in enumerate(answers):
            pressed = theme.make_button(label, "", main=index == 0)
            if callable(answer):
                pressed.clicked.connect(self._hide_and_call(answer))
            else:
                pressed.setMenu(self._make_menu(answer, pressed))
            self._buttons.addWidget(pressed)
        self.show()
        QTimer.singleShot(0, self._scroll_here)

    def _scroll_here(self) -> None:
        """Bring the question into view, else a button that asks seems to do nothing."""
        if not isalive(self):
            return
        above = self.parentWidget()
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if isinstance(above, QScrollArea):
            above.ensureWidgetVisible(self)

    def _make_menu(self, sections: Sequence[tuple[str, Sequence[Choice]]], button: QPushButton) -> QMenu:
        menu = QMenu(button)
        for title, choices in sections:
            inside = menu.addMenu(theme.escape_mnemonic(title))
            for text, call in choices:
                inside.addAction(theme.escape_mnemonic(text), self._hide_and_call(call))
        return menu

    def _forget(self, text: str) -> None:
        self._lasting = [one for one in self._lasting if one.text != text]

    def _is_meant_now(self, question: _Question) -> bool:
        return not (question.tasks and self._task) or self._task in question.tasks

    def _show_waiting(self) -> None:
        waiting = [one for one in self._lasting if self._is_meant_now(one)]
        if self.isHidden() and waiting:
            self.ask(waiting[-1].text, waiting[-1].answers)

    def _hide_and_call(self, call: Callable[[], None]) -> Callable[[], None]:
        def answered() -> None:
            self._forget(self._text.text())
            self.hide()
            call()
            self._show_waiting()

        return answered


def _do_nothing() -> None:
    pass
