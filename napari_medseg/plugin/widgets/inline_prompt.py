"""A question inside the dock, used instead of a modal dialog."""

from collections.abc import Callable, Sequence

from qtpy.QtWidgets import QFrame, QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel

Choice = tuple[str, Callable[[], None]]
PromptAnswer = tuple[str, Callable[[], None] | Sequence[tuple[str, Sequence[Choice]]]]
"""The text of a button, and what it calls, or the sections of its menu: a title and choices each."""

SPACING_PX = 4
UNDO = "Undo"
MAX_LASTING = 3
"""Of questions that come back; nobody clicks through a longer row of them."""


class InlinePrompt(QFrame):
    """Shows one question with its answers as buttons; hidden if there is no question."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("medseg-question")
        self._text = WrappedLabel("", self)
        self._reason = QLineEdit(self)
        self._reason.textChanged.connect(self._on_typed)
        self._reason.returnPressed.connect(self._on_return)
        self._may_be_empty = False
        self._offers_undo = False
        self._lasting: list[tuple[str, Sequence[PromptAnswer]]] = []
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

    def ask_lasting(self, text: str, answers: Sequence[PromptAnswer]) -> None:
        """Ask as `ask`; a question with a choice comes back if others were asked before it was answered."""
        self._forget(text)
        if len(answers) > 1:
            self._lasting = [*self._lasting, (text, answers)][-MAX_LASTING:]
        self.ask(text, answers)

    def ask_reason(self, text: str, placeholder: str, answer: str, then: Callable[[str], None]) -> None:
        """Ask for a typed reason; the answer button is disabled until text is entered."""
        self._ask_for_text(text, placeholder, answer, then, "", may_be_empty=False)

    def ask_text(self, text: str, placeholder: str, answer: str, then: Callable[[str], None], value: str) -> None:
        """Ask for a text, which may be empty; `value` is the text before."""
        self._ask_for_text(text, placeholder, answer, then, value, may_be_empty=True)

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
        """Hide a question without an answer, if it is shown, because it was settled in another way."""
        if self.text == text:
            self._hide_and_call(lambda: None)()

    def forget_undo(self) -> None:
        """Hide the questions that offer to take a command back: a person who decides the next case has gone on."""
        self._lasting = [one for one in self._lasting if one[1][0][0] != UNDO]
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
        for index, (label, answer) in enumerate(answers):
            pressed = theme.make_button(label, "", main=index == 0)
            if callable(answer):
                pressed.clicked.connect(self._hide_and_call(answer))
            else:
                pressed.setMenu(self._make_menu(answer, pressed))
            self._buttons.addWidget(pressed)
        self.show()

    def _make_menu(self, sections: Sequence[tuple[str, Sequence[Choice]]], button: QPushButton) -> QMenu:
        menu = QMenu(button)
        for title, choices in sections:
            inside = menu.addMenu(theme.escape_mnemonic(title))
            for text, call in choices:
                inside.addAction(theme.escape_mnemonic(text), self._hide_and_call(call))
        return menu

    def _forget(self, text: str) -> None:
        self._lasting = [one for one in self._lasting if one[0] != text]

    def _hide_and_call(self, call: Callable[[], None]) -> Callable[[], None]:
        def answered() -> None:
            self._forget(self._text.text())
            self.hide()
            call()
            if self.isHidden() and self._lasting:
                self.ask(*self._lasting[-1])

        return answered


def _do_nothing() -> None:
    pass
