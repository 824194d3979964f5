"""An image is used for another task, or leaves a list: nothing that a person did is lost, and all can be undone."""

from dataclasses import replace

import numpy as np
import pytest
from workflow_phantoms import phantom

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.cases import add_cases, find_last_task, list_cases
from napari_medseg.workflow.review import accept, list_draft_cases, open_review, reject
from napari_medseg.workflow.tasks import assignment
from napari_medseg.workflow.tasks.assignment import remove_from_list, return_to_list, use_for_task
from napari_medseg.workflow.workspace import Workspace


def names(ws: Workspace, task: str) -> list[str]:
    return [row.case.file_name for row in list_cases(ws, task)]


def test_images_become_cases_of_another_task_and_stay_cases_of_their_own(ws: Workspace) -> None:
    lungs = add_cases(ws, [phantom(1), phantom(2)], "lungs")
    assigned = use_for_task(ws, lungs, "covid")
    assert [case.task for case in assigned.cases] == ["covid", "covid"]
    assert assigned.added == assigned.cases
    assert assigned.refused == ()
    for before, after in zip(lungs, assigned.cases, strict=True):
        same = replace(after, id=before.id, name=before.name, task="lungs", created=before.created)
        assert same == before, "group and side stay"
    assert names(ws, "lungs") == names(ws, "covid") == [case.file_name for case in lungs]


def test_many_images_are_used_in_steps_with_the_same_result(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "CASES_PER_STEP", 2)
    pixels = np.stack([phantom(number).pixels for number in range(3)])
    series = Image(pixels, "ZYX", name="series", group="s", spacing_mm=(5.0, 0.7, 0.7))
    lungs = add_cases(ws, [*(phantom(number) for number in range(5)), series], "lungs")
    steps, done = assignment.use_in_steps(ws, lungs, "nuclei"), []
    while True:
        try:
            done.append(next(steps))
        except StopIteration as ended:
            assigned = ended.value
            break
    fitting = lungs[:5]
    assert assigned.refused == (lungs[5],)
    assert done == list(range(2, len(fitting), 2))
    assert [case.content_hash for case in assigned.cases] == [case.content_hash for case in fitting]
    assert assigned.added == assigned.cases
    again = use_for_task(ws, lungs, "nuclei")
    assert (again.cases, again.added, again.refused) == (assigned.cases, (), assigned.refused)


def test_using_an_image_twice_adds_it_once(ws: Workspace) -> None:
    lungs = add_cases(ws, [phantom(1)], "lungs")
    first, second = use_for_task(ws, lungs, "covid"), use_for_task(ws, lungs, "covid")
    assert second.cases == first.cases
    assert second.added == ()


def test_images_that_the_task_does_not_accept_are_left_out_or_refused(ws: Workspace) -> None:
    volume = Image(np.zeros((3, 4, 5), np.uint8), "ZYX", name="volume", group="v")
    (first,) = add_cases(ws, [phantom(1)], "lungs")
    (other,) = add_cases(ws, [volume], "lungs")
    assigned = use_for_task(ws, [first, other], "nuclei")
    assert (assigned.cases[0].task, assigned.refused) == ("nuclei", (other,))
    with pytest.raises(MedSegError, match="patient 2 case 2 has ZYX"):
        use_for_task(ws, [other], "nuclei")
    assert names(ws, "nuclei") == [first.file_name]


def test_a_removed_case_is_on_no_list_and_comes_back_as_it_was(ws: Workspace) -> None:
    first, second = add_cases(ws, [phantom(1), phantom(2)], "lungs")
    cached = CaseList(ws, "lungs")
    assert len(cached.rows) == 2
    draft = open_review(ws, second, None)
    draft.record(np.array([5]), 0, 1)
    draft.close()
    before = list_cases(ws, "lungs")
    remove_from_list(ws, [second])
    cached.update(second)
    assert [row.case for row in cached.rows] == [row.case for row in list_cases(ws)] == [first]
    assert list_draft_cases(ws) == []
    return_to_list(ws, [second])
    assert list_cases(ws, "lungs") == before
    assert list_draft_cases(ws) == [second]


def test_dropping_a_removed_image_again_brings_its_case_back(ws: Workspace) -> None:
    (case,) = add_cases(ws, [phantom(1)], "lungs")
    remove_from_list(ws, [case])
    assert add_cases(ws, [phantom(1)], "lungs") == [case]
    assert names(ws, "lungs") == [case.file_name]
    remove_from_list(ws, [case])
    (covid,) = add_cases(ws, [phantom(1)], "covid")
    assert use_for_task(ws, [covid], "lungs").added == (case,)
    assert names(ws, "lungs") == [case.file_name]


def test_a_case_with_accepted_labels_stays_even_if_it_was_rejected_later(ws: Workspace) -> None:
    other, case = add_cases(ws, [phantom(2), phantom(1)], "lungs")
    draft = open_review(ws, case, None)
    accept(ws, draft, np.zeros(case.spatial_shape, np.uint8), phantom(1))
    for reason in ("its labels were accepted, and they train", "as rejected: its labels were accepted before"):
        with pytest.raises(MedSegError, match=reason):
            remove_from_list(ws, [case])
        assert remove_from_list(ws, [other, case]) == [other], "each case for itself"
        assert names(ws, "lungs") == [case.file_name]
        return_to_list(ws, [other])
        reject(ws, open_review(ws, case, None))


def test_the_window_starts_with_the_task_of_a_case_that_is_listed(ws: Workspace) -> None:
    add_cases(ws, [phantom(1)], "lungs")
    covid = add_cases(ws, [phantom(1)], "covid")
    assert find_last_task(ws).name == "covid"
    remove_from_list(ws, covid)
    assert find_last_task(ws).name == "lungs"
    assert ws.project.read_records(Case, "task", "covid") == covid, "its row stays"
