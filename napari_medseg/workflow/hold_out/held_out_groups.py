"""Sides: whether a group is held out for evaluation or trained on. Both never change once a run has used them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, get_group_label
from napari_medseg.core.grouping.split import choose_sides
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case, Correction, HoldOutShare
from napari_medseg.core.replay import find_replay_groups
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class UsedCases:
    """The cases that runs trained on (or chose an epoch with), and those that runs were evaluated on.

    Both are the first run by the id of the case. Cases are used, not groups: a case may have another group since.
    """

    trained: Mapping[int, str]
    evaluated: Mapping[int, str]


def describe_hold_out_shortage(n_groups: int, task: Task) -> str:
    """Say that the hold-out of a task has accepted cases of too few groups for a comparison; empty if it has enough."""
    if n_groups >= MIN_GROUPS:
        return ""
    groups = f"{n_groups} {choose_group_noun(task)}{'s' * (n_groups != 1)}"
    return f"the hold-out has accepted cases of {groups}; the comparison needs {MIN_GROUPS}"


def find_used_cases(ws: Workspace) -> UsedCases:
    """Return which cases the runs of the project used; failed and discarded runs do not count."""
    case_of = {correction.id: correction.case_id for correction in ws.project.read_records(Correction)}
    runs: dict[bool, dict[int, str]] = {False: {}, True: {}}
    for item in ws.project.read_run_items():
        runs[item.role is Role.HOLD_OUT].setdefault(case_of[item.correction_id], item.run_id)
    return UsedCases(trained=runs[False], evaluated=runs[True])


def read_share(ws: Workspace) -> int | None:
    """Return the chosen share as one group in so many, 0 for none; `None` if nobody chose one."""
    chosen = ws.project.read_records(HoldOutShare)
    return chosen[-1].one_in if chosen else None


def assign_sides(ws: Workspace, groups: Sequence[str]) -> None:
    """Assign new keyed groups to training or hold-out, in the order of import; the others keep their side.

    They are chosen by their clear names, so that the choice is the same in every project of these images. The share is
    the one that a person chose, see `hold_out.share`.
    """
    sides = ws.project.read_hold_out_groups()
    if not (new := [group for group in dict.fromkeys(groups) if group not in sides]):
        return
    clear = ws.project.identities.read_groups()
    # A group that no case has any more, as it was renamed, does not count.
    present = ws.project.listed.read_groups() | set(groups)
    fixed = {clear.get(group, group): side for group, side in sides.items() if group in present}
    names = {clear.get(group, group): group for group in new}
    pretrained = find_pretrained_groups(ws) & names.keys()
    fixed |= dict.fromkeys(pretrained, False)
    free = dict.fromkeys(names.keys() - pretrained, False)
    chosen = choose_sides(fixed, free, read_share(ws), n_needed=MIN_GROUPS)
    for name, group in names.items():
        ws.project.set_hold_out(group, chosen.get(name, False))


def set_held_out(ws: Workspace, group: str, held_out: bool, used: UsedCases | None = None) -> None:
    """Add a whole group, keyed or by its clear name, to the hold-out, or remove it; `used` is read if it is not given.

    Raises
    ------
    MedSegError
        If the group was already used: a training group cannot be held out any more, and a hold-out group that was used
        for evaluation cannot be used for training.
    """
    group = ws.project.identities.find_group(group) or group
    if ws.project.read_hold_out_groups().get(group, False) == held_out:
        return
    label = get_group_label(group)
    if group in map(ws.project.identities.find_group, find_pretrained_groups(ws)):
        raise MedSegError(
            f"the live model was trained on {label}, so it cannot be used for evaluation. Choose another group."
        )
    used = used or find_used_cases(ws)
    ids = [case.id for case in ws.project.read_records(Case, "group", group)]
    trained = [used.trained[case_id] for case_id in ids if case_id in used.trained]
    evaluated = [used.evaluated[case_id] for case_id in ids if case_id in used.evaluated]
    if trained and held_out:
        raise MedSegError(f"{label} was trained on (run {trained[0]}), so it cannot be held out. Choose another group.")
    if evaluated and not trained:  # one with both trains: it can never evaluate a model again
        raise MedSegError(
            f"{label} was used to evaluate models (run {evaluated[0]}), so it cannot be trained on. "
            "Choose another group."
        )
    ws.project.set_hold_out(group, held_out)


def find_pretrained_groups(ws: Workspace) -> set[str]:
    """Return the groups of the bundled samples that a live version was trained on, by their published names."""
    live = [ws.registry.find_live_card(task) for task in {card.task for card in ws.registry.list_versions()}]
    return find_replay_groups(ws.samples, [card for card in live if card is not None])
