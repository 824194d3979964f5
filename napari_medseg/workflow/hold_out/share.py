"""Which share of the groups is held out: chosen by a person, before work begins or later, and applied to the groups.

A change is planned first, so that it can be shown, and then applied, as in `hold_out.groups`. Groups that a run has
used keep their side.
"""

from dataclasses import dataclass

from napari_medseg.core.grouping.split import HOLD_OUT_ONE_GROUP_IN, choose_sides
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case, Correction, HoldOutShare, now
from napari_medseg.workflow.hold_out.held_out_groups import find_pretrained_groups, find_used_cases
from napari_medseg.workflow.workspace import Workspace

NO_HOLD_OUT = 0
SHARES = {
    "no group: versions cannot be compared": NO_HOLD_OUT,
    "1 group in 10": 10,
    "1 group in 5 (usual)": HOLD_OUT_ONE_GROUP_IN,
    "1 group in 3": 3,
    "1 group in 2": 2,
}
"""What can be chosen: one group in so many."""


@dataclass(frozen=True)
class SharePlan:
    """What another share changes: the groups by their keyed names."""

    one_in: int
    n_groups: int
    n_held_out: int
    to_hold_out: tuple[str, ...]
    to_give_back: tuple[str, ...]
    n_fixed: int

    @property
    def text(self) -> str:
        """What will be held out, as text."""
        if not self.n_groups:
            return "There are no images yet: it holds for those that you add."
        lines = [f"{self.n_held_out} of {self.n_groups} groups will be held out; {self._changes}."]
        if self.n_fixed:
            lines.append(f"{self.n_fixed} groups were used by runs and keep their side.")
        if self.n_held_out < MIN_GROUPS:
            lines.append(f"A new version goes live by comparison only with {MIN_GROUPS} or more held-out groups.")
        return "\n".join(lines)

    @property
    def _changes(self) -> str:
        if not (self.to_hold_out or self.to_give_back):
            return "none changes"
        return f"{len(self.to_hold_out)} more, {len(self.to_give_back)} given back to training"


def plan_share(ws: Workspace, one_in: int) -> SharePlan:
    """Plan which groups are held out with another share; as few as possible change.

    Groups without accepted labels are held out first, because work is lost for training otherwise. A group with a case
    that was trained on is given back to training: it can never evaluate a model.
    """
    sides, used = ws.project.read_hold_out_groups(), find_used_cases(ws)
    clear, pretrained = ws.project.identities.read_groups(), find_pretrained_groups(ws)
    group_of = {case.id: case.group for case in ws.project.read_records(Case)}
    present = {group: sides.get(group, False) for group in group_of.values()}
    trained, evaluated = ({group_of[case_id] for case_id in ids} for ids in (used.trained, used.evaluated))
    kept = trained | evaluated | {group for group in present if clear.get(group, group) in pretrained}
    fixed = {group: side and group not in trained for group, side in present.items() if group in kept}
    name_of = {clear.get(group, group): group for group in present.keys() - kept}
    corrected = {group_of[correction.case_id] for correction in ws.project.read_records(Correction)}
    chosen = choose_sides(
        fixed,
        {name: present[group] for name, group in name_of.items()},
        one_in,
        last={name for name, group in name_of.items() if group in corrected},
    )
    wanted = fixed | {name_of[name]: held_out for name, held_out in chosen.items()}
    more = tuple(group for group, held_out in wanted.items() if held_out and not present[group])
    back = tuple(group for group, held_out in wanted.items() if present[group] and not held_out)
    return SharePlan(one_in, len(present), sum(wanted.values()), more, back, len(trained | evaluated))


def apply_share(ws: Workspace, plan: SharePlan) -> SharePlan:
    """Apply the share of a plan; new groups are assigned by the same share from now on.

    It is planned again, as cases may have been added or trained on since. Return what was applied.
    """
    with ws.project.transaction():
        plan = plan_share(ws, plan.one_in)
        ws.project.insert(HoldOutShare(0, plan.one_in, now()))
        for groups, held_out in ((plan.to_hold_out, True), (plan.to_give_back, False)):
            for group in groups:
                ws.project.set_hold_out(group, held_out)
    return plan


def count_accepted_held_out(ws: Workspace) -> int:
    """Return how many accepted cases of the project are held out."""
    return sum(case.held_out for case, _ in ws.project.read_accepted_cases())
