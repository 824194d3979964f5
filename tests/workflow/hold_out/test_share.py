"""The share of the hold-out: chosen before or after images are added, and never against what a run has used."""

from dataclasses import replace
from pathlib import Path

import pytest
from workflow_phantoms import accepted, phantom

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Case, Correction, Run, RunState, now
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow.cases import add_cases, list_cases
from napari_medseg.workflow.hold_out import share
from napari_medseg.workflow.hold_out.groups import apply_group_plan, plan_group, plan_groups_by_name
from napari_medseg.workflow.hold_out.held_out_groups import describe_hold_out_shortage, read_share, set_held_out
from napari_medseg.workflow.hold_out.share import apply_share, count_accepted_held_out, plan_share
from napari_medseg.workflow.workspace import Workspace


def count_held_out(ws: Workspace) -> int:
    return len({row.case.group for row in list_cases(ws) if row.case.held_out})


def add_run(ws: Workspace, cases: list[Case], role: Role, run_id: str = "r") -> None:
    ws.project.insert(Run(run_id, "lungs", "lungs-unet@1", f"runs/{run_id}", RunState.FINISHED, 1, None, now()))
    correction_of = {correction.case_id: correction.id for correction in ws.project.read_records(Correction)}
    ws.project.add_run_items([RunItem(run_id, correction_of[case.id], case.group, role) for case in cases])


def regroup(ws: Workspace, cases: list[Case]) -> list[Case]:
    """Give each case a group with another name."""
    for case in cases:
        apply_group_plan(ws, plan_group(ws, [case], f"renamed {case.id}"))
    return ws.project.read_records(Case)


@pytest.mark.parametrize(("one_in", "expected"), [(0, 0), (10, 1), (5, 2), (3, 3), (2, 5)])
def test_before_and_after_images_are_added(ws: Workspace, one_in: int, expected: int) -> None:
    apply_share(ws, plan_share(ws, one_in))
    assert read_share(ws) == one_in
    for number in range(10):
        add_cases(ws, [phantom(number)], "lungs")
    assert count_held_out(ws) == expected
    for other, n_groups in ((2, 5), (0, 0), (5, 2)):
        plan = plan_share(ws, other)
        assert f"{n_groups} of 10 groups will be held out" in plan.text
        apply_share(ws, plan)
        assert count_held_out(ws) == n_groups


def test_as_few_groups_as_possible_change_and_those_with_work_last(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    done = [accepted(ws, number) for number in range(2)]
    add_cases(ws, [phantom(number) for number in range(2, 6)], "lungs")
    plan = plan_share(ws, 2)
    assert len(plan.to_hold_out) == 3
    assert not {case.group for case in done} & set(plan.to_hold_out)
    apply_share(ws, plan)
    held = {row.case.group for row in list_cases(ws) if row.case.held_out}
    smaller = plan_share(ws, 3)
    assert len(smaller.to_give_back) == 1
    assert set(smaller.to_give_back) < held
    assert "none changes" in plan_share(ws, 2).text
    assert count_accepted_held_out(ws) == 0


def test_groups_that_runs_used_keep_their_side(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    case = accepted(ws, 0)
    add_cases(ws, [phantom(1)], "lungs")
    add_run(ws, [case], Role.TRAIN)
    plan = plan_share(ws, 2)
    assert case.group not in plan.to_hold_out
    assert len(plan.to_hold_out) == 1
    assert "1 groups were used by runs" in plan.text


def test_cases_that_were_trained_on_stay_out_of_the_hold_out_in_another_group(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    trained = [accepted(ws, number) for number in range(6)]
    add_run(ws, trained, Role.TRAIN)
    trained = regroup(ws, trained)
    add_cases(ws, [phantom(number) for number in range(6, 8)], "lungs")
    plan = apply_share(ws, plan_share(ws, 2))
    assert plan.n_fixed == 6
    assert [case.held_out for case in ws.project.read_records(Case)] == [False] * 6 + [True] * 2
    with pytest.raises(MedSegError, match=r"was trained on \(run r\), so it cannot be held out"):
        set_held_out(ws, trained[0].group, True)


def test_cases_that_evaluated_models_stay_held_out_in_another_group(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 2))
    cases = [accepted(ws, number) for number in range(4)]
    held = [row.case for row in list_cases(ws) if row.case.held_out]
    add_run(ws, held, Role.HOLD_OUT)
    regroup(ws, cases)
    assert apply_share(ws, plan_share(ws, 0)).n_held_out == len(held) == 2
    now_held = [row.case for row in list_cases(ws) if row.case.held_out]
    assert {case.id for case in now_held} == {case.id for case in held}
    with pytest.raises(MedSegError, match="was used to evaluate models"):
        set_held_out(ws, now_held[0].group, False)


def test_a_trained_case_that_an_earlier_version_held_out_is_given_back(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    cases = [accepted(ws, number) for number in range(4)]
    add_run(ws, cases[:1], Role.TRAIN)
    add_run(ws, cases[:1], Role.HOLD_OUT, "r2")
    ws.project.set_hold_out(cases[0].group, True)
    assert cases[0].group in plan_share(ws, 2).to_give_back
    set_held_out(ws, cases[0].group, False)
    assert not ws.project.get_record(Case, cases[0].id).held_out


def test_a_plan_that_is_out_of_date_is_made_again(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    cases = [accepted(ws, number) for number in range(4)]
    plan, regrouped = plan_share(ws, 2), plan_group(ws, cases[2:], "together")
    add_run(ws, cases[:3], Role.TRAIN)
    add_cases(ws, [phantom(number) for number in range(4, 6)], "lungs")
    assert apply_share(ws, plan).n_groups == 6
    assert [case.held_out for case in ws.project.read_records(Case)] == [False] * 3 + [True] * 3
    apply_group_plan(ws, regrouped)
    assert [case.held_out for case in ws.project.read_records(Case)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(("one_in", "expected"), [(0, 0), (3, 2), (2, 3)])
def test_new_groups_and_changed_ones_follow_the_chosen_share(ws: Workspace, one_in: int, expected: int) -> None:
    apply_share(ws, plan_share(ws, one_in))
    names = [f"p{number // 2}_{number % 2}" for number in range(12)]
    images = [
        replace(phantom(number), name=name, sources=(Path(f"/data/{name}.png"),)) for number, name in enumerate(names)
    ]
    add_cases(ws, images, "lungs")
    apply_group_plan(ws, plan_groups_by_name(ws, "{patient}_*"))  # twelve groups become six; the old ones do not count
    assert count_held_out(ws) == expected
    add_cases(ws, [phantom(number) for number in range(12, 18)], "lungs")
    assert count_held_out(ws) == 2 * expected


def test_the_live_versions_are_asked_once(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    add_cases(ws, [phantom(number) for number in range(20)], "lungs")
    calls, find = [], share.find_pretrained_groups
    monkeypatch.setattr(share, "find_pretrained_groups", lambda ws: calls.append(ws) or find(ws))
    plan_share(ws, 5)
    assert len(calls) == 1


def test_a_small_hold_out_is_told_in_the_words_of_the_task(ws: Workspace) -> None:
    nuclei, instruments = ws.tasks.get_task("nuclei"), ws.tasks.get_task("instruments")
    assert "accepted cases of 0 slides; the comparison needs 5" in describe_hold_out_shortage(0, nuclei)
    assert "accepted cases of 1 video; the" in describe_hold_out_shortage(1, instruments)
    assert describe_hold_out_shortage(5, nuclei) == ""
