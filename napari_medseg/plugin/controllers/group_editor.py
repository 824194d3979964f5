"""Shows the forms that change the groups of cases."""

from functools import partial

from qtpy.QtWidgets import QWidget

from napari_medseg.core.grouping.keyed_groups import choose_group_noun, get_group_noun
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.groups_form import GROUP_TOOLTIP, PATTERN_TOOLTIP, make_groups_form
from napari_medseg.workflow.hold_out.groups import GroupPlan, apply_group_plan, plan_group, plan_groups_by_name
from napari_medseg.workflow.workspace import Workspace


class GroupEditor:
    """Shows the forms for groups and applies what they plan.

    Parameters
    ----------
    workspace, worklist
        Project, and the list to refresh after a change.
    parent
        Qt parent of the forms.
    """

    def __init__(self, workspace: Workspace, worklist: Worklist, parent: QWidget) -> None:
        self._workspace = workspace
        self._worklist = worklist
        self._parent = parent

    def show_form(self, case: Case | None = None) -> None:
        """Ask for the group of a case; without a case, for the pattern that names the groups of all cases."""
        ws = self._workspace
        if case is None:
            pattern = ws.project.identities.read_pattern()
            plan = partial(plan_groups_by_name, ws)
            form = make_groups_form(plan, self._change, pattern, "Pattern", PATTERN_TOOLTIP)
            nouns = f"{choose_group_noun(self._worklist.task)}s"
            FormDialog(f"{nouns.capitalize()} of all images", f"Change {nouns}", form, self._parent).show()
            return
        group = ws.project.identities.read_groups().get(case.group, case.group)
        noun = get_group_noun(case.group)
        form = make_groups_form(partial(plan_group, ws, [case]), self._change, group, noun.capitalize(), GROUP_TOOLTIP)
        FormDialog(f"{noun.capitalize()} of {case.name}", f"Change {noun}", form, self._parent).show()

    def _change(self, plan: GroupPlan) -> None:
        apply_group_plan(self._workspace, plan)
        self._worklist.reload_task()
