"""A question about a mask inside the dock: what its values mean, and what to do with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFrame, QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.widgets import theme
from napari_medseg.workflow.masks.meaning import MaskMeaning, ProposedMeaning

MAX_ROWS_HEIGHT_PX = 170
ROW_HEIGHT_PX = 28
MAX_IN_A_ROW = 4
"""Answers; more of them are in two rows, so that no text is cut in a narrow dock."""

MaskAnswer = tuple[str, str, Callable[[MaskMeaning], None]]
"""Text of a button, its tooltip, and what is called with the meaning of the values."""


@dataclass(frozen=True)
class MaskQuery:
    """What is asked: a text, the task, the number of voxels of each value, and what the values seem to mean."""

    text: str
    task: Task
    counts: Mapping[int, int]
    proposed: ProposedMeaning


class MaskQuestion(QFrame):
    """Asks what to do with a mask. Rows for its values are shown only if their meaning is not certain.

    It is hidden while there is no question, and one question replaces another.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("medseg-question")
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self._area = QScrollArea(self)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._combos: dict[int, QComboBox] = {}
        self._buttons = QGridLayout()
        self._buttons.setSpacing(4)
        self._query: MaskQuery | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 4, 4)
        layout.setSpacing(4)
        layout.addWidget(self._text)
        layout.addWidget(self._area)
        layout.addLayout(self._buttons)
        self.hide()

    @property
    def text(self) -> str:
        """The question; empty if there is none."""
        return "" if self.isHidden() else self._text.text()

    @property
    def asks_values(self) -> bool:
        """Whether the meaning of values is asked, too."""
        return bool(self._combos) and not self.isHidden()

    def ask(self, query: MaskQuery, answers: Sequence[MaskAnswer]) -> None:
        """Show a question; an answer hides it and is called with the meaning that the rows show."""
        self._query = query
        self._text.setText(query.text)
        self._combos = {}
        rows = QWidget()
        grid = QGridLayout(rows)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        if not query.proposed.is_certain:
            for row, (value, count) in enumerate(sorted(query.counts.items())):
                self._add_row(grid, row, value, count)
        self._area.setWidget(rows)
        self._area.setFixedHeight(min(MAX_ROWS_HEIGHT_PX, ROW_HEIGHT_PX * max(1, len(self._combos))))
        self._area.setVisible(bool(self._combos))
        self._show_answers(answers)
        self.show()

    def ask_again(self, text: str, answers: Sequence[tuple[str, str, Callable[[], None]]]) -> None:
        """Show a question without values."""
        self._query, self._combos = None, {}
        self._text.setText(text)
        self._area.hide()
        self._show_answers([(title, tooltip, _ignore_meaning(call)) for title, tooltip, call in answers])
        self.show()

    def change_text(self, text: str) -> None:
        """Say something else; the answers stay."""
        self._text.setText(text)

    def choose(self, value: int, label: int) -> None:
        """Choose the label of a value, as with the mouse."""
        combo = self._combos[value]
        combo.setCurrentIndex(combo.findData(label))

    def press_answer(self, title: str) -> None:
        """Click an answer; raise `ValueError` if there is none of this text."""
        for index in range(self._buttons.count()):
            button = self._buttons.itemAt(index).widget()
            if button.text() == title:
                button.click()
                return
        raise ValueError(f"no answer {title!r} to {self._text.text()!r}")

    def _add_row(self, grid: QGridLayout, row: int, value: int, count: int) -> None:
        assert self._query is not None
        task, proposed = self._query.task, self._query.proposed
        name = proposed.names.get(value, "")
        text = QLabel(f"{value}  {name}")
        text.setToolTip(f"value {value} {name}: {count:,} voxels")
        combo = theme.CompactComboBox(f"What the {count:,} voxels of value {value} are")
        combo.addItem("background", 0)
        for label in task.labels:
            combo.addItem(label.name, label.value)
        combo.setCurrentIndex(max(0, combo.findData(proposed.meaning.label_of.get(value, 0))))
        grid.addWidget(text, row, 0)
        grid.addWidget(combo, row, 1)
        self._combos[value] = combo

    def _show_answers(self, answers: Sequence[MaskAnswer]) -> None:
        while (item := self._buttons.takeAt(0)) is not None:
            item.widget().hide()  # deleted only later, and until then it would lie over the new answers
            item.widget().deleteLater()
        for index, (title, tooltip, call) in enumerate(answers):
            button = theme.make_button(title, tooltip, main=index == 0)
            button.clicked.connect(lambda _checked=False, call=call: self._answer(call))
            n_columns = len(answers) if len(answers) <= MAX_IN_A_ROW else -(-len(answers) // 2)
            self._buttons.addWidget(button, *divmod(index, n_columns))

    def _answer(self, call: Callable[[MaskMeaning], None]) -> None:
        self.hide()
        call(self._read_meaning())

    def _read_meaning(self) -> MaskMeaning:
        if self._query is None:
            return MaskMeaning()
        if not self._combos:
            return self._query.proposed.meaning
        chosen = {value: int(combo.currentData()) for value, combo in self._combos.items()}
        return MaskMeaning(label_of=chosen)


def _ignore_meaning(call: Callable[[], None]) -> Callable[[MaskMeaning], None]:
    def answered(_meaning: MaskMeaning) -> None:
        call()

    return answered
