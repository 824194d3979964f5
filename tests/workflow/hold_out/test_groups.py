"""The groups of a project: named by a rule or a pattern, changed later, and never on both sides."""

from dataclasses import replace
from pathlib import Path

import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.hold_out.groups import apply_group_plan, plan_group, plan_groups_by_name
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


def picture(number: int, name: str, group: str) -> Image:
    return replace(phantom(number, group), name=name, sources=(Path(f"/data/{name}.png"),))


def slices(n_patients: int, n_each: int = 2) -> list[Image]:
    """Pictures that an earlier version made a group each."""
    names = [f"p{patient}_{number}" for patient in range(n_patients) for number in range(n_each)]
    return [picture(number, name, name) for number, name in enumerate(names)]


def read_groups(ws: Workspace) -> list[str]:
    """Return the clear groups of the cases, which only the table `identities` holds."""
    clear = ws.project.identities.read_groups()
    return [clear[case.group] for case in ws.project.read_records(Case)]


def add_run(ws: Workspace, case: Case, role: Role, run_id: str = "r1") -> None:
    correction = accept(ws, open_review(ws, case, None), phantom_labels(), phantom(case.id - 1))
    ws.project.insert(Run(run_id, "lungs", "lungs-unet@1", f"runs/{run_id}", RunState.FINISHED, 1, None, "2025"))
    ws.project.add_run_items([RunItem(run_id, correction.id, case.group, role)])


def test_a_pattern_puts_the_slices_of_a_patient_together_and_is_kept_for_new_images(ws: Workspace) -> None:
    add_cases(ws, slices(6), "lungs")
    plan = plan_groups_by_name(ws, "{patient}_*")
    assert plan.text.startswith(
        "6 patients: p0 (2), p1 (2), p2 (2), p3 (2), p4 (2), p5 (2); 2 held out; 12 of 12 cases"
    )
    assert read_groups(ws)[:2] == ["p0_0", "p0_1"]  # a plan changes nothing
    apply_group_plan(ws, plan)
    assert read_groups(ws) == [f"p{patient}" for patient in range(6) for _ in range(2)]
    sides = {(case.group, case.held_out) for case in ws.project.read_records(Case)}
    assert len(sides) == 6
    add_cases(ws, [picture(50, "p3_x_7", "")], "lungs")
    assert read_groups(ws)[-1] == "p3"


def test_cases_that_the_pattern_does_not_match_keep_their_group_and_are_named(ws: Workspace) -> None:
    add_cases(ws, [*slices(2), picture(20, "phantom", "phantom")], "lungs")
    plan = plan_groups_by_name(ws, "{patient}_*")
    assert "does not match 1 cases, which keep their group: phantom" in plan.text
    with pytest.raises(MedSegError, match=r"matches none of the 5 cases, such as 'p0_0'"):
        plan_groups_by_name(ws, "{patient}-*")


def test_one_case_that_was_trained_on_keeps_its_whole_group_out_of_the_hold_out(ws: Workspace) -> None:
    first, second, *_ = add_cases(ws, slices(6), "lungs")
    set_held_out(ws, first.group, False)
    set_held_out(ws, second.group, True)
    add_run(ws, first, Role.TRAIN)
    add_run(ws, ws.project.get_record(Case, second.id), Role.HOLD_OUT, "r2")
    plan = plan_groups_by_name(ws, "{patient}_*")
    assert not plan.held_out["p0"]
    assert any(line.startswith("p0: 1 cases of it were used to evaluate") for line in plan.warnings)
    assert any("the hold-out was used before" in line for line in plan.warnings)
    apply_group_plan(ws, plan)
    assert not ws.project.get_record(Case, second.id).held_out


def test_a_group_that_evaluated_models_stays_held_out(ws: Workspace) -> None:
    cases = add_cases(ws, [picture(n, f"vol_{n}", "vol") for n in range(4)], "lungs")
    ws.project.set_hold_out("vol", True)
    add_run(ws, ws.project.get_record(Case, cases[0].id), Role.HOLD_OUT)
    plan = plan_groups_by_name(ws, "{patient}")
    assert plan.held_out["vol_0"]
    assert sum(plan.held_out.values()) < 4  # the others were never used: most of them train


def test_the_group_of_some_cases_is_set_by_hand_and_later_images_join_it(ws: Workspace) -> None:
    cases = add_cases(ws, [picture(0, "cc003_001", "cc003"), picture(1, "x_2", "x")], "lungs")
    apply_group_plan(ws, plan_group(ws, cases, "Patient 9"))
    assert read_groups(ws) == ["Patient 9"] * 2
    add_cases(ws, [picture(2, "cc003_007", "cc003")], "lungs")
    assert read_groups(ws) == ["Patient 9"] * 3
    with pytest.raises(MedSegError, match="needs a name"):
        plan_group(ws, cases, " ")


def test_a_new_slice_joins_the_group_that_an_earlier_version_gave_its_patient(ws: Workspace) -> None:
    """An earlier version made the first slice of a patient, which was alone in its folder, a group of its own."""
    (old,) = add_cases(ws, [picture(0, "cc003_001", "cc003_001")], "lungs")
    ws.project.set_hold_out(old.group, True)
    (new,) = add_cases(ws, [picture(1, "cc003_002", "cc003")], "lungs")
    assert (new.group, new.held_out) == (old.group, True)


def test_existing_cases_keep_group_and_side_until_a_person_changes_them(ws: Workspace) -> None:
    add_cases(ws, slices(3), "lungs")
    before = ws.project.read_records(Case)
    add_cases(ws, [picture(30, "q_1", "q")], "lungs")
    assert ws.project.read_records(Case)[: len(before)] == before
