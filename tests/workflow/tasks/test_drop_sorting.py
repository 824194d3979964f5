"""A drop of mixed kinds in words, and redirected as a whole."""

from dataclasses import replace

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.workflow.cases import add_cases, list_cases
from napari_medseg.workflow.review import open_review, reject
from napari_medseg.workflow.tasks.drop_sorting import (
    SortedImage,
    describe_drop,
    describe_kind,
    explain_redirection,
    list_parts,
    list_possible_tasks,
    redirect_to_task,
    replace_cases,
)
from napari_medseg.workflow.workspace import Workspace

CT = replace(phantom(0), modality="CT", units="HU")
STAINED = Image(np.full((40, 40, 3), (230, 180, 220), np.uint8), "YXC", name="tile")
ENDOSCOPIC = Image(np.full((40, 40, 3), (120, 40, 30), np.uint8), "YXC", name="frame")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (CT, "CT slice"),
        (replace(CT, pixels=np.stack([CT.pixels] * 3), axes="ZYX", spacing_mm=(1, 1, 1)), "CT series"),
        (replace(phantom(0), modality="DX"), "X-ray"),
        (phantom(0), "grey image"),
        (STAINED, "histology image"),
        (ENDOSCOPIC, "endoscopy image"),
    ],
)
def test_kinds_in_words(image: Image, kind: str) -> None:
    assert describe_kind(image) == kind


def drop_mixed(ws: Workspace) -> list[SortedImage]:
    slices = add_cases(ws, [phantom(number) for number in range(3)], "lungs")
    tile = add_cases(ws, [STAINED], "nuclei")[0]
    return [*(SortedImage("CT slice", case) for case in slices), SortedImage("histology image", tile)]


def test_one_line_says_what_is_for_which_task(ws: Workspace) -> None:
    dropped = drop_mixed(ws)
    assert describe_drop(ws, dropped) == (
        f"3 CT slices for {ws.tasks.get_task('lungs').title}, 1 histology image for {ws.tasks.get_task('nuclei').title}"
    )
    slices, tile = list_parts(dropped)
    assert (slices.text, slices.task, len(slices.cases)) == ("3 CT slices", "lungs", 3)
    assert (tile.text, tile.task, len(tile.cases)) == ("1 histology image", "nuclei", 1)


def test_a_part_can_go_to_every_task_that_takes_its_images(ws: Workspace) -> None:
    dropped = drop_mixed(ws)
    slices, tile = list_parts(dropped)
    assert {task.name for task in list_possible_tasks(ws, slices.cases)} >= {"covid"}
    assert "lungs" not in {task.name for task in list_possible_tasks(ws, slices.cases)}, "they are there already"
    everything = {task.name for task in list_possible_tasks(ws, [*slices.cases, *tile.cases])}
    assert {"lungs", "nuclei"} & everything, "a task of one part is another one for the rest"
    assigned = redirect_to_task(ws, tile.cases, "instruments")
    after = replace_cases(dropped, assigned)
    assert [image.case.task for image in after] == ["lungs", "lungs", "lungs", "instruments"]
    assert [image.kind for image in after] == [image.kind for image in dropped]


def test_a_drop_is_redirected_as_a_whole(ws: Workspace) -> None:
    dropped = drop_mixed(ws)
    assigned = redirect_to_task(ws, [image.case for image in dropped], "lungs")
    assert len(assigned.cases) == 4
    assert len(list_cases(ws, "lungs")) == 4
    assert list_cases(ws, "nuclei") == []


def test_a_case_with_accepted_labels_stays_on_its_list(ws: Workspace) -> None:
    done = accepted(ws, 9)
    redirect_to_task(ws, [done, *(image.case for image in drop_mixed(ws))], "covid")
    assert [row.case.id for row in list_cases(ws, "lungs")] == [done.id]


def test_a_case_that_was_accepted_and_rejected_stays_with_the_reason_and_the_others_go(ws: Workspace) -> None:
    done = accepted(ws, 9)
    reject(ws, open_review(ws, done, None))
    cases = [done, *(image.case for image in drop_mixed(ws))]
    assigned = redirect_to_task(ws, cases, "covid")
    assert [row.case.id for row in list_cases(ws, "lungs")] == [done.id]
    assert len(list_cases(ws, "covid")) == 5, "its image is used there, too"
    said = explain_redirection(ws, cases, assigned)
    assert said.startswith(f"{done.name} stays on the list, as rejected: its labels were accepted before")
    (alone,) = redirect_to_task(ws, [done], "covid").cases
    assert alone.task == "covid"


def test_nothing_changes_if_the_task_takes_none(ws: Workspace) -> None:
    stack = replace(
        phantom(0), pixels=np.stack([phantom(n).pixels for n in range(3)]), axes="ZYX", spacing_mm=(1, 1, 1)
    )
    dropped = add_cases(ws, [stack], "lungs")
    with pytest.raises(MedSegError, match="needs images with axes"):
        redirect_to_task(ws, dropped, "nuclei")
    assert [row.case for row in list_cases(ws)] == dropped
