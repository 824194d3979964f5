"""Explains the hold-out where a person meets it, and lets them choose its share."""

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_medseg.core.grouping.keyed_groups import get_group_label, get_group_noun
from napari_medseg.core.grouping.split import HOLD_OUT_ONE_GROUP_IN
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.hold_out_form import make_hold_out_form
from napari_medseg.plugin.widgets.inline_prompt import Choice, PromptAnswer
from napari_medseg.plugin.widgets.notifications import show_errors, show_result
from napari_medseg.workflow.case_list.columns import explain_hold_out
from napari_medseg.workflow.hold_out import held_out_groups, share
from napari_medseg.workflow.hold_out.share import SharePlan
from napari_medseg.workflow.workspace import Workspace

SHARES_TITLE = "Share of the hold-out"
TOPIC = "hold-out"


class HoldOutGuide(QObject):
    """Tells about the hold-out at the badge, and when the first held-out case of a project is accepted.

    Parameters
    ----------
    workspace, worklist, case_controller
        The project, the list to refresh after a change, and the controller whose decisions are watched.
    ask
        Shows a text with answers, as `InlinePrompt.ask` does.
    parent
        Qt parent of the form.
    """

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        case_controller: CaseController,
        ask: Callable[[str, Sequence[PromptAnswer]], None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worklist = worklist
        self._ask = ask
        self._parent = parent
        case_controller.decided.connect(self._on_decided)

    def explain(self, case: Case) -> None:
        """Explain why a case is held out, with the ways to change it."""
        label = get_group_label(case.group)
        self._ask(
            f"{label}. {explain_hold_out(get_group_noun(case.group))}",
            [("OK", lambda: None), *self._list_changes(case)],
        )

    def show_form(self) -> None:
        """Ask for the share of groups that are held out."""
        with show_errors():
            chosen = held_out_groups.read_share(self._workspace)
            one_in = HOLD_OUT_ONE_GROUP_IN if chosen is None else chosen
            form = make_hold_out_form(partial(share.plan_share, self._workspace), self._change, one_in)
            FormDialog(SHARES_TITLE, "Change", form, self._parent).show()

    def _change(self, plan: SharePlan) -> None:
        share.apply_share(self._workspace, plan)
        self._worklist.reload_cases()

    def _on_decided(self, case: Case) -> None:
        with show_errors():
            row = self._worklist.case_list.get_row(case.id)
            if row is None or row.state != "accepted" or not row.case.held_out:
                return
            if share.count_accepted_held_out(self._workspace) == 1:  # the first one of this project
                text = f"{row.case.name} is accepted, but it does not count for retraining"
                text = f"{text}. {explain_hold_out(get_group_noun(row.case.group))}"
                show_result(text, self._list_changes(row.case), TOPIC)  # a question would push the next case's buttons

    def _list_changes(self, case: Case) -> list[Choice]:
        give_back = partial(self._set_held_out, case.group, False)
        return [("Use it for training", give_back), ("Share…", self.show_form)]

    def _set_held_out(self, group: str, held_out: bool) -> None:
        with show_errors():
            held_out_groups.set_held_out(self._workspace, group, held_out)
            self._worklist.case_list.update_group(group)
            self._worklist.refresh()
