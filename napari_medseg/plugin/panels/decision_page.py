"""The comparison of a new version with the live one, and the decision: promote it or keep the old one."""

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.quality.promotion_gate import Decision
from napari_medseg.core.records import Run
from napari_medseg.plugin.panels.comparison_table import ComparisonTable
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row, stack_widgets
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel
from napari_medseg.workflow.retrain import CandidateComparison


class DecisionPage(QWidget):
    """Scores of both versions on each hold-out case; the button that the comparison speaks for is the main one.

    Parameters
    ----------
    promote
        Called with the reason, which is empty if the version is better.
    keep
        Called when the old version stays.

    Notes
    -----
    `row_chosen` carries the run and the `ComparisonRow` whose labels the user wants to see.
    """

    row_chosen = Signal(object, object)

    def __init__(self, promote: Callable[[str], None], keep: Callable[[], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._promote = promote
        self.compared: tuple[Run, CandidateComparison] | None = None
        self.prompt = InlinePrompt()
        self.table = ComparisonTable()
        self.verdict = make_wrapped_label("")
        self.verdict.setObjectName("medseg-verdict")
        self.figures = make_wrapped_label("")
        self.promote_button = theme.make_button("Promote", "")
        self.keep_button = theme.make_button("Keep old", "")
        buttons = make_row(self.promote_button, self.keep_button, stretch=-1)
        stack_widgets(self, self.verdict, buttons, self.prompt, self.figures, self.table)  # the buttons stay in view
        self.promote_button.clicked.connect(self.promote_or_ask_reason)
        self.keep_button.clicked.connect(keep)
        self.table.chosen.connect(self._on_chosen)

    def show_comparison(self, run: Run, view: CandidateComparison, live: ModelCard | None, next_name: str) -> None:
        """Show a comparison; `live` is the live version, and `next_name` what the new one would be called."""
        self.compared = run, view
        self.prompt.hide()
        in_part = frozenset(row.compared.case for row in view.rows if row.is_partly_reviewed)
        self.table.show_rows([row.compared for row in view.rows], in_part)
        self.table.setVisible(bool(view.rows))
        is_better = view.verdict.decision is Decision.BETTER
        self.verdict.setText(view.verdict.headline)
        self.verdict.setProperty("decision", view.verdict.decision.value)
        self.verdict.style().polish(self.verdict)
        text = view.verdict.figures if is_better else f"{view.verdict.answer}. {view.verdict.figures}"
        if live is not None and run.base_model not in ("", live.id):
            text = f"Compared with {run.base_model}; {live.id} is live now. {text}"
        self.figures.setText(text)
        self.promote_button.setText(f"Promote {next_name}")
        self.keep_button.setText("Not yet" if live is None else f"Keep @{live.version}")
        asks = "" if is_better else "; it asks for a reason, as the hold-out does not show that it is better"
        self.promote_button.setToolTip(f"Predict with the new version from now on; you can roll back at any time{asks}")
        self.keep_button.setToolTip("The new version stays in the registry, but does not go live")
        theme.set_main(self.promote_button, is_better)
        theme.set_main(self.keep_button, not is_better)

    def promote_or_ask_reason(self) -> None:
        """Promote the candidate. If it is not better, ask for a reason first."""
        if self.compared is None:
            return
        if self.compared[1].verdict.decision is Decision.BETTER:
            self._promote("")
        else:
            text = "The hold-out does not show that it is better. Why should it go live anyway?"
            self.prompt.ask_reason(text, "reason, for the model card", "Promote anyway", self._promote)

    def _on_chosen(self, case: str) -> None:
        if self.compared is not None:
            run, view = self.compared
            for row in view.rows:
                if row.compared.case == case:
                    self.row_chosen.emit(run, row)


def make_wrapped_label(text: str) -> QLabel:
    """Make a muted label that wraps its text."""
    label = WrappedLabel(text)
    label.setObjectName("medseg-muted")
    return label
