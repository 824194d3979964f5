"""A case with the newest of what was made of it, against the same put together record by record."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState

N_CASES = 40
TASKS = ("lungs", "nuclei")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project.create(tmp_path / "project")
    yield project
    project.close()


def add_case(project: Project, number: int) -> Case:
    sources = tuple(f"/data/{number}/{n}.dcm" for n in range(number % 3))
    axes, shape, spacing = ("ZYX", (3, 4, 5), (2.5, 0.8, 0.8)) if number % 2 else ("YX", (4, 5), None)
    name, group, task = f"case {number}", f"p{number % 7}", TASKS[number % 2]
    return project.insert(Case(0, task, name, group, f"hash {number}", axes, shape, spacing, sources, False, "2026"))


def add_prediction(project: Project, case: Case) -> Prediction:
    return project.insert(Prediction(0, case.id, "lungs-unet@1", "labels/p.tif", "0", 1.5, None, "2026"))


def add_review(project: Project, case: Case, state: ReviewState) -> Review:
    review = project.insert(Review(0, case.id, None, ReviewState.OPEN, 0.0, 0, "me", "2026", None))
    if state is ReviewState.OPEN:
        return review
    closed = Review(review.id, case.id, None, state, 3.0, 7, "me", "2026", "2027")
    project.close_review(closed)
    if state is ReviewState.ACCEPTED:
        project.insert(
            Correction(0, review.id, case.id, "m@1", "images/i.tif", "labels/c.tif", "0", 3.0, 7, "me", "2027")
        )
    return closed


def fill(project: Project) -> None:
    """Predictions, reviews and corrections of many cases in turn, as they come in a long project."""
    rng = np.random.default_rng(0)
    cases = [add_case(project, number) for number in range(N_CASES)]
    for group in range(0, 7, 2):
        project.set_hold_out(f"p{group}", True)
    project.set_hold_out("p2", False)
    for number in rng.integers(0, N_CASES - 5, 200):  # the last cases are new
        if rng.random() < 0.4:
            add_prediction(project, cases[number])
        else:
            add_review(project, cases[number], list(ReviewState)[rng.integers(3)])


def put_together(project: Project, case: Case) -> CaseHistory:
    def newest(records: list) -> object:
        return records[-1] if records else None

    reviews = project.read_records(Review, "case_id", case.id)
    return CaseHistory(
        case,
        newest(project.read_records(Prediction, "case_id", case.id)),
        newest(project.read_records(Correction, "case_id", case.id)),
        newest([review for review in reviews if review.state is ReviewState.OPEN]),
        newest([review for review in reviews if review.state is not ReviewState.OPEN]),
    )


def test_histories_are_those_put_together_from_the_records(project: Project) -> None:
    fill(project)
    expected = [put_together(project, case) for case in project.read_records(Case)]
    assert any(history.correction and history.open_review and history.closed_review for history in expected)
    assert any(history.prediction is None and history.closed_review is None for history in expected)
    assert {history.case.held_out for history in expected} == {True, False}
    assert project.read_case_histories() == expected
    for task in TASKS:
        assert project.read_case_histories(task) == [one for one in expected if one.case.task == task]
    assert [project.read_case_history(one.case.id) for one in expected] == expected


def test_accepted_cases_are_those_that_were_accepted_last(project: Project) -> None:
    fill(project)
    expected = [
        (one.case, one.correction)
        for one in project.read_case_histories("lungs")
        if one.closed_review is not None and one.closed_review.state is ReviewState.ACCEPTED
    ]
    rejected_later = [one for one in project.read_case_histories("lungs") if one.correction is not None]
    assert 0 < len(expected) < len(rejected_later)
    assert list(project.read_accepted_cases("lungs")) == expected


def test_accepted_cases_are_read_again_when_something_was_written(project: Project) -> None:
    case = add_case(project, 0)
    assert project.read_accepted_cases() == ()
    add_review(project, case, ReviewState.ACCEPTED)
    ((accepted, correction),) = project.read_accepted_cases()
    assert accepted == case
    project.set_hold_out(case.group, True)
    assert project.read_accepted_cases()[0][0].held_out
    add_review(project, case, ReviewState.REJECTED)
    assert project.read_accepted_cases() == ()
    add_review(project, case, ReviewState.ACCEPTED)
    assert project.read_accepted_cases()[0][1].id > correction.id


def test_an_accepted_case_is_decoded_once_and_nothing_of_a_transaction_that_fails_is_kept(project: Project) -> None:
    first, second = add_case(project, 0), add_case(project, 1)
    add_review(project, first, ReviewState.ACCEPTED)
    (before,) = project.read_accepted_cases()
    with contextlib.suppress(MedSegError), project.transaction():
        add_review(project, second, ReviewState.ACCEPTED)
        assert len(project.read_accepted_cases()) == 2
        raise MedSegError("the disk is full")
    assert project.read_accepted_cases() == (before,)
    add_review(project, second, ReviewState.ACCEPTED)
    again, other = project.read_accepted_cases()
    assert again is before
    assert other[0] == second


def test_each_is_one_query_and_unchanged_accepted_cases_none(project: Project) -> None:
    fill(project)
    asked: list[str] = []
    project._connection.set_trace_callback(asked.append)
    project.read_case_history(1)
    assert len(asked) == 1
    project.read_case_histories("lungs")
    assert len(asked) == 2
    for _ in range(3):
        project.read_accepted_cases("lungs")
    assert len(asked) == 4, "which they are, and those that were not read before"


def test_a_case_that_is_not_there_is_named(project: Project) -> None:
    with pytest.raises(MedSegError, match="no case 7"):
        project.read_case_history(7)


def test_waiting_cases_are_those_that_nobody_has_decided(project: Project) -> None:
    fill(project)
    for task in TASKS:
        expected = []
        for history in project.read_case_histories(task):
            closed, prediction = history.closed_review, history.prediction
            is_accepted = closed is not None and closed.state is ReviewState.ACCEPTED
            is_again = prediction is not None and closed is not None and prediction.created > (closed.closed or "")
            if closed is None or (not is_accepted and is_again):
                expected.append(history.case)
        waiting = project.listed.read_waiting(task)
        assert [(one.id, one.content_hash, one.axes, one.shape, one.spatial_shape) for one in waiting] == [
            (case.id, case.content_hash, case.axes, case.shape, case.spatial_shape) for case in expected
        ]
        assert len(waiting) > 2
    left = project.read_case_histories("lungs")[0].case
    project.set_removed([left], removed=True)
    assert left.id not in [one.id for one in project.listed.read_waiting("lungs")]
