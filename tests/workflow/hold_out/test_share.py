"""The share of the hold-out: chosen before or after images are added, and never against what a run has used."""

import pytest
from workflow_phantoms import accepted, phantom

from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Correction, Run, RunState, now
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow.cases import add_cases, list_cases
from napari_medseg.workflow.hold_out.share import apply_share, count_accepted_held_out, plan_share, read_share
from napari_medseg.workflow.workspace import Workspace


def count_held_out(ws: Workspace) -> int:
    return len({row.case.group for row in list_cases(ws) if row.case.held_out})


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
    ws.project.insert(Run("r", "lungs", "lungs-unet@1", "runs/r", RunState.FINISHED, 1, None, now()))
    (correction,) = ws.project.read_records(Correction)
    ws.project.add_run_items([RunItem("r", correction.id, case.group, Role.TRAIN)])
    plan = plan_share(ws, 2)
    assert case.group not in plan.to_hold_out
    assert len(plan.to_hold_out) == 1
    assert "1 groups were used by runs" in plan.text
