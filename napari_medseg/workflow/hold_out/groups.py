"""The groups of a project: found in the names of its images, by a rule or by a typed pattern, and changed later.

A change is planned first, so that it can be shown, and then applied: `plan_groups_by_name` or `plan_group`, then
`apply_group_plan`. A person types and reads clear names here; `apply_group_plan` keys them, and the project stores them
in its table `identities` only.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.containers.part_paths import get_whole_path
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.formats.discovery import NON_DICOM_SUFFIXES, get_suffix
from napari_medseg.core.grouping.groups import GroupPattern, find_group, format_groups
from napari_medseg.core.grouping.keyed_groups import get_group_label, get_group_noun
from napari_medseg.core.grouping.split import choose_sides
from napari_medseg.core.image import Image
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow.hold_out.held_out_groups import (
    UsedCases,
    find_pretrained_groups,
    find_used_cases,
    read_share,
)
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupPlan:
    """New groups of cases, before they are applied.

    Parameters
    ----------
    cases
        All cases of the project, with their present keyed groups.
    present
        The clear name of each present group, by its keyed one.
    group_of
        The clear name of the new group of each case, by its id.
    held_out
        The side of each new group, by its clear name: True for the hold-out.
    unmatched
        Cases whose name the pattern does not match; they keep their group.
    warnings
        What the change does to comparisons that were made or can still be made; empty if nothing.
    pattern
        The pattern that names new cases from now on; `None` to keep the present one.
    """

    cases: tuple[Case, ...]
    present: Mapping[str, str]
    group_of: Mapping[int, str]
    held_out: Mapping[str, bool]
    unmatched: tuple[Case, ...]
    warnings: tuple[str, ...]
    pattern: str | None = None

    @property
    def changed(self) -> tuple[Case, ...]:
        """Cases that get another group."""
        return tuple(case for case in self.cases if self.group_of[case.id] != self.present.get(case.group, case.group))

    @property
    def text(self) -> str:
        """The groups with their number of cases, and what else a person should know, one line each."""
        counted = format_groups(self.group_of[case.id] for case in self.cases)
        n_held_out = sum(self.held_out[group] for group in set(self.group_of.values()))
        lines = [f"{counted}; {n_held_out} held out; {len(self.changed)} of {len(self.cases)} cases change"]
        if self.unmatched:
            names = ", ".join(case.file_name for case in self.unmatched[:3]) + ", ..." * (len(self.unmatched) > 3)
            lines.append(f"the pattern does not match {len(self.unmatched)} cases, which keep their group: {names}")
        return "\n".join([*lines, *self.warnings])


def choose_groups(ws: Workspace, images: Sequence[Image]) -> list[str]:
    """Return the clear groups of new images: by the project's pattern if there is one, else as their files say.

    If the cases that share this group were given another one, by a person or by an earlier version of the program, the
    new image joins them, so that a patient does not get a second side.
    """
    text = ws.project.identities.read_pattern()
    pattern = GroupPattern.parse(text) if text else None
    wanted = [_choose_group(image, pattern) for image in images]
    present = ws.project.identities.read_groups()
    known = {present.get(group, group) for group in ws.project.listed.read_groups()}
    if all(group in known for group in wanted):
        return wanted
    joined = _find_renamed_groups(ws, pattern, present)
    return [group if group in known else joined.get(group, group) for group in wanted]


def plan_groups_by_name(ws: Workspace, pattern: str) -> GroupPlan:
    """Plan the groups of all cases by a pattern; an empty pattern is the rule of `core.grouping.groups`.

    Raises
    ------
    MedSegError
        If the pattern is not valid, or matches no case.
    """
    parsed = GroupPattern.parse(pattern) if pattern.strip() else None
    cases = tuple(ws.project.read_records(Case))
    present = ws.project.identities.read_groups()
    named = {case.id: _find_case_group(case, parsed, present) for case in cases}
    unmatched = tuple(case for case in cases if not named[case.id])
    if cases and len(unmatched) == len(cases):
        raise MedSegError(
            f"the pattern {pattern!r} matches none of the {len(cases)} cases, such as {cases[0].file_name!r}. "
            "Write the name of an image with {patient} in place of the patient, slide or video, such as {patient}_*."
        )
    group_of = {case.id: named[case.id] or present.get(case.group, case.group) for case in cases}
    return _make_plan(ws, cases, group_of, unmatched, parsed.text if parsed else "")


def plan_group(ws: Workspace, chosen: Sequence[Case], group: str) -> GroupPlan:
    """Plan one group for some cases: a clear name, or the label or keyed form of a group of the project.

    Raises
    ------
    MedSegError
        If the name of the group is empty.
    """
    if not group.strip():
        raise MedSegError("a group needs a name, such as the number of the patient, slide or video.")
    cases = tuple(ws.project.read_records(Case))
    present = ws.project.identities.read_groups()
    labelled = {text: clear for keyed, clear in present.items() for text in (keyed, get_group_label(keyed))}
    wanted = group.strip()
    if wanted not in present.values():
        wanted = labelled.get(wanted, wanted)
    ids = {case.id for case in chosen}
    group_of = {case.id: wanted if case.id in ids else present.get(case.group, case.group) for case in cases}
    return _make_plan(ws, cases, group_of, (), None)


def apply_group_plan(ws: Workspace, plan: GroupPlan) -> None:
    """Write the groups and sides of a plan; earlier ones are kept as history in the database.

    The sides are planned again, as cases may have been added or trained on since.
    """
    identities = ws.project.identities
    with ws.project.transaction():
        sides, present = ws.project.read_hold_out_groups(), identities.read_groups()
        cases = ws.project.read_records(Case)
        group_of = {case.id: plan.group_of.get(case.id, present.get(case.group, case.group)) for case in cases}
        plan = _make_plan(ws, tuple(cases), group_of, plan.unmatched, plan.pattern)
        for case in plan.changed:
            identities.key_group(plan.group_of[case.id], get_group_noun(case.group))
        ws.project.set_case_groups({case.id: plan.group_of[case.id] for case in plan.changed})
        for group, held_out in plan.held_out.items():
            if sides.get(identities.key_group(group)) != held_out:
                ws.project.set_hold_out(group, held_out)
        if plan.pattern is not None and plan.pattern != identities.read_pattern():
            identities.set_pattern(plan.pattern)


def _choose_group(image: Image, pattern: GroupPattern | None) -> str:
    own = image.group or image.name or image.content_hash[:12]
    if pattern is None:
        return own
    return pattern.find_group(get_whole_path(image.sources[0]) if image.sources else Path(image.name)) or own


def _find_case_group(case: Case, pattern: GroupPattern | None, present: Mapping[str, str]) -> str:
    """Return the clear group that the file of a case gives; its present one if the file itself states the patient."""
    path = get_whole_path(Path(use_slashes(case.sources[0]))) if case.sources else Path(case.file_name)
    if pattern is not None:
        return pattern.find_group(path)
    if not case.sources or get_suffix(path) not in NON_DICOM_SUFFIXES:
        return present.get(case.group, case.group)
    return find_group(path, is_volume=case.axes.startswith("Z"))


def _find_renamed_groups(ws: Workspace, pattern: GroupPattern | None, present: Mapping[str, str]) -> dict[str, str]:
    """Return the present group of cases by the group that their names give; of several the one that is trained on."""
    found: dict[str, dict[str, bool]] = {}
    for case in ws.project.read_records(Case):
        named = _find_case_group(case, pattern, present)
        if named and named != present.get(case.group, case.group):
            found.setdefault(named, {})[case.group] = case.held_out
    if doubtful := [groups for groups in found.values() if len(set(groups.values())) > 1]:
        logger.warning(
            "images of one patient, slide or video are both in the hold-out and in the training set: %s. "
            "medseg groups change puts them together",
            "; ".join(" and ".join(map(get_group_label, sorted(groups))) for groups in doubtful),
        )
    chosen = {named: min(groups, key=lambda group: (groups[group], group)) for named, groups in found.items()}
    return {named: present.get(group, group) for named, group in chosen.items()}


def _make_plan(
    ws: Workspace, cases: tuple[Case, ...], group_of: dict[int, str], unmatched: tuple[Case, ...], pattern: str | None
) -> GroupPlan:
    used, pretrained = find_used_cases(ws), find_pretrained_groups(ws)
    present = ws.project.identities.read_groups()
    sides: dict[str, bool] = {}
    undecided: dict[str, bool] = {}
    warnings: list[str] = []
    for group, members in _list_members(cases, group_of).items():
        is_pretrained = group in pretrained or any(
            present.get(case.group, case.group) in pretrained for case in members
        )
        side, warning = _decide_side(group, members, used, is_pretrained, _is_unchanged(members, cases, group_of))
        if side is None:
            undecided[group] = all(case.held_out for case in members)
        else:
            sides[group] = side
        warnings += [warning] if warning else []
    corrected = {correction.case_id for correction in ws.project.read_records(Correction)}
    worked_on = {group_of[case.id] for case in cases if case.id in corrected}
    sides |= choose_sides(sides, undecided, read_share(ws), last=worked_on, n_needed=MIN_GROUPS)
    if lost := [case for case in cases if case.id in used.evaluated and sides[group_of[case.id]] != case.held_out]:
        warnings.append(
            f"the hold-out was used before, and {len(lost)} of its cases leave it: a later comparison is made on other "
            "cases than the earlier ones"
        )
    return GroupPlan(cases, present, group_of, sides, unmatched, tuple(warnings), pattern)


def _list_members(cases: Sequence[Case], group_of: Mapping[int, str]) -> dict[str, list[Case]]:
    members: dict[str, list[Case]] = {}
    for case in cases:
        members.setdefault(group_of[case.id], []).append(case)
    return members


def _is_unchanged(members: Sequence[Case], cases: Sequence[Case], group_of: Mapping[int, str]) -> bool:
    """Whether a new group has the same cases as one that exists."""
    before = {case.group for case in members}
    return len(before) == 1 and {case.id for case in cases if case.group in before} == {case.id for case in members}


def _decide_side(
    group: str, members: Sequence[Case], used: UsedCases, is_pretrained: bool, is_unchanged: bool
) -> tuple[bool | None, str]:
    """Return the side of a new group, `None` if it is free to choose, and a warning.

    What was trained on can never evaluate a model again, so one such case decides for its whole group.
    """
    if is_unchanged:
        return members[0].held_out, ""
    evaluated = [case for case in members if case.id in used.evaluated]
    if is_pretrained or any(case.id in used.trained for case in members):
        if not evaluated:
            return False, ""
        return False, (
            f"{group}: {len(evaluated)} cases of it were used to evaluate models, and other cases were trained on. "
            "Earlier figures on these cases were too good; from now on they train"
        )
    return (True, "") if evaluated else (None, "")
