"""Which share of the groups is held out: chosen by a person, before work begins or later, and applied to the groups.

A change is planned first, so that it can be shown, and then applied, as in `hold_out.groups`. Groups that a run has
used keep their side.
"""

from dataclasses import dataclass

from napari_medseg.core.grouping.split import HOLD_OUT_ONE_GROUP_IN, sort_by_hash
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case, Correction, HoldOutShare, now
from napari_medseg.workflow.hold_out.held_out_groups import find_pretrained_groups
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


def read_share(ws: Workspace) -> int | None:
    """Return the chosen share as one group in so many, `NO_HOLD_OUT` for none; `None` if nobody chose one."""
    chosen = ws.project.read_records(HoldOutShare)
    return chosen[-1].one_in if chosen else None


def plan_share(ws: Workspace, one_in: int) -> SharePlan:
    """Plan which groups are held out with another share; as few as possible change.

    Groups without accepted labels are held out first, because work is lost for training otherwise.
    """
    sides = ws.project.read_hold_out_groups()
    clear = ws.project.identities.read_groups()
    present = {case.group for case in ws.project.read_records(Case)}
    used = {item.group for item in ws.project.read_run_items()}
    fixed = used | {group for group in present if clear.get(group, group) in find_pretrained_groups(ws)}
    name_of = {clear.get(group, group): group for group in present - fixed}
    ranked = [name_of[name] for name in sort_by_hash(name_of)]
    corrected = {correction.case_id for correction in ws.project.read_records(Correction)}
    worked_on = {case.group for case in ws.project.read_records(Case) if case.id in corrected}
    n_wanted = max(1, len(present) // one_in) if one_in and len(present) > 1 else 0
    n_free = max(0, n_wanted - sum(sides.get(group, False) for group in present & fixed))
    held = [group for group in ranked if sides.get(group, False)]
    others = sorted((group for group in ranked if group not in held), key=lambda group: group in worked_on)
    more = tuple(others[: max(0, n_free - len(held))])
    back = tuple(held[n_free:])
    n_held_out = sum(sides.get(group, False) for group in present) + len(more) - len(back)
    return SharePlan(one_in, len(present), n_held_out, more, back, len(present & used))


def apply_share(ws: Workspace, plan: SharePlan) -> None:
    """Apply a plan; new groups are assigned by the same share from now on."""
    with ws.project.transaction():
        ws.project.insert(HoldOutShare(0, plan.one_in, now()))
        for groups, held_out in ((plan.to_hold_out, True), (plan.to_give_back, False)):
            for group in groups:
                ws.project.set_hold_out(group, held_out)


def count_accepted_held_out(ws: Workspace) -> int:
    """Return how many accepted cases of the project are held out."""
    return sum(case.held_out for case, _ in ws.project.read_accepted_cases())
