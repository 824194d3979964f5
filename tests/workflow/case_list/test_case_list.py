"""The list of cases without a window: its orders, what comes next, filters, and reading step by step."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, phantom_labels, predicted

from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.case_images.problems import ImageFault, ImageProblem
from napari_medseg.workflow.case_list import case_list as case_list_file
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.filters import CaseFilter
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.cases import add_cases, list_cases
from napari_medseg.workflow.hold_out.groups import apply_group_plan, plan_group
from napari_medseg.workflow.review import open_review, record_prediction, reject, reject_unopened
from napari_medseg.workflow.tasks.assignment import remove_from_list, return_to_list
from napari_medseg.workflow.workspace import Workspace


def shown(cases: CaseList) -> list[int]:
    return cases.shown_ids.tolist()


def walk(cases: CaseList, ws: Workspace, n_cases: int, skip: Sequence[int] = ()) -> list[int]:
    """Accept one case after the other, as `A` does, and return their ids; those in `skip` are left undecided."""
    opened, skipped, here = [], set(), None
    for _ in range(n_cases):
        case = cases.find_next(here, skipped)
        cases.pin(case.id)
        opened.append(case.id)
        here = case.id
        if case.id in skip:
            skipped.add(case.id)
        else:
            reject_unopened(ws, case)
            cases.update(case)
    return opened


def test_one_case_of_every_patient_comes_before_a_second_of_any(ws: Workspace) -> None:
    a = [predicted(ws, phantom(n, "a"), 0.9 - 0.01 * n)[0].id for n in range(3)]
    b = [predicted(ws, phantom(n, "b"), 0.3 + 0.01 * n)[0].id for n in range(10, 12)]
    (c,) = (predicted(ws, phantom(20, "c"), 0.1)[0].id,)
    new = add_cases(ws, [phantom(30, "d")], "lungs")[0].id
    cases = CaseList(ws, "lungs")
    assert shown(cases) == [a[0], b[1], c, new, a[1], b[0], a[2]]
    accept_one = accepted(ws, 40, "c").id
    cases = CaseList(ws, "lungs")
    assert shown(cases) == [a[0], b[1], new, a[1], b[0], c, a[2], accept_one], "of c there is one accepted already"


def test_a_rejected_case_says_nothing_about_its_patient(ws: Workspace) -> None:
    bad, good = (predicted(ws, phantom(n, "a"), 0.5 - 0.1 * n)[0] for n in range(2))
    other = predicted(ws, phantom(5, "b"), 0.1)[0]
    reject_unopened(ws, bad)
    assert shown(CaseList(ws, "lungs")) == [good.id, other.id, bad.id]


@pytest.fixture
def ten(ws: Workspace) -> list[int]:
    """Ten predicted cases of ten patients, the later the more certain, but for the third."""
    return [predicted(ws, phantom(n), 0.95 if n == 2 else 0.9 - 0.05 * n)[0].id for n in range(10)]


def test_orders(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs")
    assert shown(cases) == [ten[2], *ten[:2], *ten[3:]]
    cases.set_order(CaseOrder.LISTED)
    assert shown(cases) == ten
    cases.set_order(CaseOrder.RANDOM)
    shuffled = shown(cases)
    assert sorted(shuffled) == ten
    assert shuffled != ten
    again = CaseList(ws, "lungs", CaseOrder.RANDOM)
    assert shown(again) == shuffled, "the same in each session"
    for n in (7, 4):
        open_review(ws, cases.get_row(ten[n]).case, cases.get_row(ten[n]).prediction).record([5], 0, 1)
        cases.update(cases.get_row(ten[n]).case)
    cases.set_order(CaseOrder.OLDEST_DRAFT)
    assert shown(cases) == [ten[7], ten[4], *(n for n in ten if n not in (ten[7], ten[4]))]
    stack = replace(
        phantom(99), pixels=np.stack([phantom(n).pixels for n in range(4)]), axes="ZYX", spacing_mm=(1,) * 3
    )
    (volume,) = add_cases(ws, [stack], "lungs")
    record_prediction(ws, volume, PredictionResult(np.stack([phantom_labels()] * 4), 0.97, None, 1.0, "CPU"), "m@1")
    cases.update(volume)
    cases.set_order(CaseOrder.HARDEST)
    assert shown(cases)[0] == volume.id, "although a plane of it is easy"
    cases.set_order(CaseOrder.USEFUL)
    assert shown(cases)[0] == ten[2]


def test_by_merit_the_best_is_next_and_what_was_skipped_comes_last(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs")
    best = shown(cases)
    assert walk(cases, ws, 10, skip=best[1:3]) == [*best[:3], *best[3:]]
    assert cases.find_next(best[-1], set(best[1:3])).id == best[1]


@pytest.mark.parametrize("order", [CaseOrder.LISTED, CaseOrder.RANDOM])
def test_in_other_orders_the_next_one_below_is_next(ws: Workspace, ten: list[int], order: CaseOrder) -> None:
    cases = CaseList(ws, "lungs", order)
    rows = shown(cases)
    cases.pin(rows[4])
    reject_unopened(ws, cases.get_row(rows[4]).case)
    cases.update(cases.get_row(rows[4]).case)
    assert cases.find_next(rows[4]).id == rows[5]
    assert cases.find_next(rows[9]).id == rows[0]
    assert [row.case.id for row in cases.list_ahead(rows[4], 99)] == [*rows[5:], *rows[:4]]


def test_a_column_decides_what_is_next_and_where_steps_lead(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs")
    cases.sort_by(lambda row: row.case.id, descending=True)
    assert shown(cases) == ten[::-1]
    assert cases.find_next(ten[5]).id == ten[4]
    assert cases.find_beside(ten[5], 1).id == ten[4]
    assert cases.find_beside(ten[0], 1).id == ten[9]
    assert cases.find_beside(None, 1).id == ten[9]
    assert cases.find_beside(None, -1).id == ten[0]


def test_the_open_case_stays_where_it_is_until_it_is_left(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs")
    cases.set_filter(CaseFilter(kind="predicted"))
    before = shown(cases)
    cases.pin(before[3])
    reject_unopened(ws, cases.get_row(before[3]).case)
    cases.update(cases.get_row(before[3]).case)
    assert shown(cases) == before
    assert cases.get_row(before[3]).state == "rejected", "its row is the new one all the same"
    cases.pin(before[4])
    assert shown(cases) == [n for n in before if n != before[3]]


def test_steps_and_next_keep_to_the_filter(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs", CaseOrder.LISTED)
    for n in (3, 6):
        reject_unopened(ws, cases.get_row(ten[n]).case)
        cases.update(cases.get_row(ten[n]).case)
    cases.set_filter(CaseFilter(kind="rejected"))
    assert shown(cases) == [ten[3], ten[6]]
    assert cases.find_beside(ten[4], 1).id == ten[6], "from a case that the filter hides, the next one below"
    assert cases.find_beside(ten[4], -1).id == ten[3]
    assert cases.find_next(ten[3]) is None
    assert cases.counts.n_undecided == 8
    cases.set_filter(CaseFilter(text=" SLICE 4"))
    assert [cases.get_row(n).case.name for n in shown(cases)] == ["patient 5 case 5"]
    cases.set_filter(CaseFilter(text="no such case"))
    assert shown(cases) == []
    assert cases.find_beside(ten[4], 1) is None


def test_a_filter_by_group_and_a_group_that_changed(ws: Workspace, ten: list[int]) -> None:
    cases = CaseList(ws, "lungs")
    group = cases.get_row(ten[0]).case.group
    apply_group_plan(ws, plan_group(ws, [cases.get_row(ten[1]).case], group))
    cases.forget()
    cases.set_filter(CaseFilter(group=group))
    assert sorted(shown(cases)) == ten[:2]


def test_reading_in_steps_gives_what_reading_at_once_gives(
    ws: Workspace, ten: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_list_file, "ROWS_PER_STEP", 3)
    cases = CaseList(ws, "lungs")
    assert cases.n_cases == 3
    assert not cases.is_complete
    late = add_cases(ws, [phantom(50)], "lungs")[0]
    cases.update(late)
    removed = cases.get_row(ten[1]).case
    remove_from_list(ws, [removed])
    cases.update(removed)
    assert cases.rows == list_cases(ws, "lungs")
    assert cases.is_complete
    return_to_list(ws, [removed])
    remove_from_list(ws, [late])
    cases.forget()
    assert cases.get_row(late.id) is not None, "until all is read again"
    assert cases.rows == list_cases(ws, "lungs")


def test_a_project_without_cases_is_an_empty_list(ws: Workspace) -> None:
    for order in CaseOrder:
        cases = CaseList(ws, "lungs", order)
        assert shown(cases) == []
        assert cases.find_next() is None
        assert cases.find_beside(None, 1) is None
        assert cases.list_ahead(None, 5) == []
        assert cases.counts.progress.text == ""


def test_drafts_and_other_decisions_are_read_row_by_row(ws: Workspace) -> None:
    cases = CaseList(ws, "lungs")
    case, prediction = predicted(ws, phantom(0))
    for change in (
        lambda: None,
        lambda: open_review(ws, case, prediction).record([5], 0, 1),
        lambda: reject(ws, open_review(ws, case, prediction)),
    ):
        change()
        cases.update(case)
        assert cases.rows == list_cases(ws, "lungs")


def test_a_case_without_an_image_is_never_next_and_has_a_filter(ws: Workspace) -> None:
    ids = [predicted(ws, phantom(number), 0.9 - 0.1 * number)[0] for number in range(3)]
    cases = CaseList(ws, "lungs")
    assert cases.find_next() == ids[0]
    ws.image_problems.put(ids[0], ImageProblem(ImageFault.MISSING, "gone"))
    cases.update_images([ids[0].id, 999])
    assert cases.find_next() == ids[1]
    assert ids[0].id not in [row.case.id for row in cases.list_ahead(None, 9)]
    assert (cases.counts.n_without_image, cases.counts.n_left_without_image) == (1, 1)
    cases.set_filter(CaseFilter("no image"))
    assert shown(cases) == [ids[0].id]
    ws.image_problems.put(ids[0], None)
    cases.update_images([ids[0].id])
    cases.set_filter(CaseFilter())
    assert cases.find_next() == ids[0]
