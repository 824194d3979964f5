"""Many cases at once: one that is refused does not stop the others, and says why."""

from functools import partial

from workflow_phantoms import accepted, phantom, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case, Review, ReviewState
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.columns import COLUMNS
from napari_medseg.workflow.case_list.filters import CaseFilter
from napari_medseg.workflow.case_list.many_cases import (
    CASES_PER_STEP,
    Outcome,
    change_cases,
    describe_sides,
    make_flagging,
    make_rejection,
    make_removal,
    make_return,
    make_second_reading,
    select_to_predict_again,
    set_groups_held_out,
)
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import add_cases, get_case_row, list_cases
from napari_medseg.workflow.draft_opening import begin_review
from napari_medseg.workflow.hold_out.share import apply_share, plan_share
from napari_medseg.workflow.review import open_review, reject_unopened
from napari_medseg.workflow.workspace import Workspace


def test_reject_goes_on_after_a_refusal_and_takes_steps(ws: Workspace) -> None:
    cases = add_cases(ws, [phantom(number) for number in range(CASES_PER_STEP + 3)], "lungs")
    outcome = Outcome()
    steps = list(change_cases(ws, cases, make_rejection(ws, lambda: cases[1].id), outcome))
    assert [len(step) for step in steps] == [CASES_PER_STEP - 1, 3]
    assert [row.state for row in list_cases(ws)] == ["rejected", "new", *["rejected"] * (CASES_PER_STEP + 1)]
    assert outcome.describe("rejected") == (
        f"{CASES_PER_STEP + 2} cases rejected. 1 not: {cases[1].name} is open: use the buttons of the dock."
    )
    again = Outcome()
    list(change_cases(ws, cases, make_rejection(ws, lambda: None), again))
    assert again.done == [cases[1]]
    assert again.describe("rejected").startswith(f"{cases[1].name} rejected. {len(cases) - 1} not: ")
    assert f"and {len(cases) - 4} more." in again.describe("rejected")


def test_what_a_refused_case_wrote_is_taken_back(ws: Workspace) -> None:
    cases = add_cases(ws, [phantom(number) for number in range(3)], "lungs")

    def begin_and_refuse(case: Case) -> None:
        begin_review(ws, case, None)
        if case == cases[1]:
            raise MedSegError(f"{case.name} is refused")

    outcome = Outcome()
    list(change_cases(ws, cases, begin_and_refuse, outcome))
    assert outcome.done == [cases[0], cases[2]]
    assert [review.case_id for review in ws.project.read_records(Review)] == [cases[0].id, cases[2].id]
    list(change_cases(ws, cases[1:2], begin_and_refuse, outcome))
    assert get_case_row(ws, cases[1]).review is None


def test_rejecting_drafts_keeps_the_work_of_their_journals(ws: Workspace) -> None:
    cases = [predicted(ws, phantom(number)) for number in range(3)]
    for case, prediction in cases[:2]:
        draft = open_review(ws, case, prediction)
        draft.record([5, 6], 0, 1)
        draft.add_seconds(12.5)
        draft.close()
    (ws.project.folder / cases[1][1].labels_file).write_bytes(b"damaged")
    outcome = Outcome()
    list(change_cases(ws, [case for case, _ in cases], partial(reject_unopened, ws), outcome))
    assert len(outcome.done) == 3, outcome.reasons
    reviews = ws.project.read_records(Review)
    assert [review.state for review in reviews] == [ReviewState.REJECTED] * 3
    assert [(review.seconds, review.changed_voxels) for review in reviews] == [(12.5, 2), (12.5, 0), (0.0, 0)]


def test_a_case_that_was_opened_meanwhile_and_a_draft_are_neither_rejected_nor_removed(ws: Workspace) -> None:
    cases = add_cases(ws, [phantom(number) for number in range(2 * CASES_PER_STEP)], "lungs")
    opened: list[int] = []
    outcome = Outcome()
    steps = change_cases(ws, cases, make_rejection(ws, lambda: opened[-1] if opened else None), outcome)
    next(steps)
    opened.append(cases[-1].id)
    drawn = open_review(ws, cases[-2], None)
    drawn.record([5], 0, 1)
    list(steps)
    assert outcome.done == cases[:-2]
    assert [row.state for row in list_cases(ws)][-2:] == ["draft", "new"]
    assert outcome.reasons[0] == f"{cases[-2].name} has a draft: open it and press R, or accept it"
    outcome = Outcome()
    list(change_cases(ws, cases[-1:], make_removal(ws, lambda: opened[-1]), outcome))
    assert "is open and stays" in outcome.describe("removed")


def test_remove_keeps_what_was_accepted_and_is_undone(ws: Workspace) -> None:
    done, new = accepted(ws, 1), add_cases(ws, [phantom(2)], "lungs")[0]
    outcome = Outcome()
    list(change_cases(ws, [done, new], make_removal(ws, lambda: None), outcome))
    assert outcome.done == [new]
    assert "its labels were accepted" in outcome.describe("removed")
    assert [row.case for row in list_cases(ws)] == [done]
    list(change_cases(ws, outcome.done, make_return(ws), Outcome()))
    assert [row.case for row in list_cases(ws)] == [done, new]


def test_flags_and_second_readings_are_set_and_shown_in_columns_and_filters(ws: Workspace) -> None:
    cases = add_cases(ws, [phantom(number) for number in range(3)], "lungs")
    flagged, chosen, _ = cases
    list(change_cases(ws, [flagged], make_flagging(ws, is_flagged=True), Outcome()))
    list(change_cases(ws, [chosen], make_second_reading(ws, is_chosen=True), Outcome()))
    notes.set_note(ws, chosen, "Vessel?")
    notes.set_reason(ws, flagged, "blurred")
    found = CaseList(ws, "lungs", CaseOrder.LISTED)
    shown = {name: [COLUMNS[name].text(row, None) for row in found.rows] for name in ("flag", "second", "note")}
    assert shown == {"flag": ["⚑", "", ""], "second": ["", "2nd", ""], "note": ["", "Vessel?", ""]}
    assert COLUMNS["reason"].text(found.rows[0], None) == "", "it is not rejected"
    reject_unopened(ws, flagged)
    assert COLUMNS["reason"].text(get_case_row(ws, flagged), None) == "blurred"
    for wanted, case in (("flagged", flagged), ("second reading", chosen)):
        found.set_filter(CaseFilter(wanted))
        assert found.shown_ids.tolist() == [case.id]
    found.set_filter(CaseFilter(text="vessel"))
    assert found.shown_ids.tolist() == [chosen.id]
    found.set_filter(CaseFilter())
    found.sort_by(COLUMNS["note"].key, descending=False)
    assert found.shown_ids[0] == chosen.id, "cases without a note come last"
    list(change_cases(ws, [flagged], make_flagging(ws, is_flagged=False), Outcome()))
    assert not get_case_row(ws, flagged).note.is_flagged


def test_groups_change_sides_and_the_others_say_why_not(ws: Workspace) -> None:
    apply_share(ws, plan_share(ws, 0))
    cases = add_cases(ws, [phantom(number) for number in range(3)], "lungs")
    groups = [case.group for case in cases]
    changed, reasons = set_groups_held_out(ws, groups[:2], held_out=True)
    assert (changed, reasons) == (groups[:2], [])
    assert set_groups_held_out(ws, groups, held_out=True) == ([groups[2]], [])
    assert describe_sides(changed, reasons, held_out=True) == (
        "patient 1, patient 2: held out from now on: only for evaluation."
    )
    assert describe_sides([], ["a run used patient 1."], held_out=False) == (
        "Nothing was changed. 1 not: a run used patient 1."
    )


def test_what_cannot_be_predicted_again_says_what_to_do(ws: Workspace) -> None:
    done, draft, plain, here = accepted(ws, 1), *(predicted(ws, phantom(number))[0] for number in (2, 3, 4))
    open_review(ws, draft, get_case_row(ws, draft).prediction).record([5], 0, 1)
    outcome = select_to_predict_again([get_case_row(ws, case) for case in (done, draft, plain, here)], here.id)
    assert outcome.done == [plain]
    assert [reason.partition(": ")[2][:10] for reason in outcome.reasons] == ["its labels", "open it an", "press G"]
