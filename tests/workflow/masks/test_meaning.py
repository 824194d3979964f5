"""What mask values mean: as a person said, as names say, or as the task numbers them; asked only if in doubt."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.masks.meaning import (
    AS_THE_TASK,
    MaskMeaning,
    choose_meaning,
    propose_meaning,
    recall_meaning,
    remember_meaning,
)
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.mask_values import UnknownValueError, convert_mask_to_labels

LUNGS = TASKS["lungs"]


def test_values_of_a_person_become_labels_background_and_refusals() -> None:
    meaning = MaskMeaning(label_of={10: 1, 11: 1, 20: 2, 30: 0})
    mask = np.array([[0, 10, 11, 20, 30]])
    assert convert_mask_to_labels(mask, meaning.make_encoding(LUNGS)).tolist() == [[0, 1, 1, 2, 0]]
    with pytest.raises(UnknownValueError, match="the values 31 are unknown"):
        convert_mask_to_labels(mask + (mask == 30), meaning.make_encoding(LUNGS))
    dropping = meaning.model_copy(update={"others_are_background": True})
    assert convert_mask_to_labels(mask + (mask == 30), dropping.make_encoding(LUNGS)).tolist() == [[0, 1, 1, 2, 0]]
    assert dropping.describe(LUNGS) == "10+11 right lung, 20 left lung, others background"


def test_a_label_may_be_absent_but_not_all() -> None:
    one = MaskMeaning(label_of={5: 2})
    assert convert_mask_to_labels(np.array([[5, 0]]), one.make_encoding(LUNGS)).tolist() == [[2, 0]]
    with pytest.raises(MedSegError, match="no value of the mask is a label of Lungs"):
        MaskMeaning(label_of={5: 0}).make_encoding(LUNGS)


@pytest.mark.parametrize(
    ("task", "values", "names", "remembered", "expected", "certain"),
    [
        ("lungs", [1, 2], {}, None, MaskMeaning(label_of={1: 1, 2: 2}), False),  # or the other way round: ask
        ("lungs", [1, 2], {}, MaskMeaning(label_of={1: 2, 2: 1}), MaskMeaning(label_of={1: 2, 2: 1}), True),
        ("lungs", [1, 2, 3], {}, MaskMeaning(label_of={1: 2, 2: 1}), MaskMeaning(label_of={1: 1, 2: 2, 3: 0}), False),
        ("lungs", [], {}, None, MaskMeaning(), True),
        (
            "lungs",
            [1, 2, 9],
            {1: "lung left", 2: "lung right", 9: "liver"},
            None,
            MaskMeaning(label_of={1: 2, 2: 1}, others_are_background=True),
            True,
        ),
        (
            "lungs",
            [1, 9],
            {1: "lung left"},
            None,
            MaskMeaning(label_of={1: 2}, others_are_background=True),
            False,  # nobody named 9
        ),
        ("nuclei", [1, 7, 900], {}, None, AS_THE_TASK, True),
        ("instruments", [1], {}, None, MaskMeaning(label_of={1: 1}), True),
        ("instruments", [255], {}, None, MaskMeaning(label_of={255: 1}), True),
        ("instruments", [7], {}, None, MaskMeaning(label_of={7: 1}), False),
        ("instruments", [3, 7], {}, None, MaskMeaning(label_of={3: 0, 7: 0}), False),
    ],
)
def test_a_person_is_asked_only_in_doubt(
    task: str,
    values: list[int],
    names: dict[int, str],
    remembered: MaskMeaning | None,
    expected: MaskMeaning,
    certain: bool,
) -> None:
    proposed = propose_meaning(TASKS[task], values, names, remembered)
    assert (proposed.meaning, proposed.is_certain) == (expected, certain)


def test_without_a_question_names_decide_and_foreign_names_are_refused() -> None:
    assert choose_meaning(LUNGS, {}, None) == AS_THE_TASK
    assert choose_meaning(LUNGS, {3: "lung right"}, None).label_of == {3: 1}
    said = MaskMeaning(label_of={3: 2})
    assert choose_meaning(LUNGS, {3: "lung right"}, said) == said
    whole_body = {0: "background", 1: "liver", 3: "lung right", 4: "lung left"}
    assert choose_meaning(LUNGS, whole_body, None).label_of == {3: 1, 4: 2}
    with pytest.raises(MedSegError, match=r"only 1 right lung are labels of .* 2 left pulmo would become background"):
        choose_meaning(LUNGS, {1: "right lung", 2: "left pulmo"}, None)
    assert not propose_meaning(LUNGS, [1, 2], {1: "right lung", 2: "left pulmo"}, None).is_certain
    with pytest.raises(MedSegError, match=r"name their values 1 liver, but none of them is a label of Lungs"):
        choose_meaning(LUNGS, {1: "liver"}, None)


def test_what_a_person_said_is_remembered_per_task_and_folder(
    open_workspace: Callable[[], Workspace], tmp_path: Path
) -> None:
    ws, said, later = open_workspace(), MaskMeaning(label_of={3: 1}), MaskMeaning(label_of={4: 1})
    remember_meaning(ws, "lungs", tmp_path / "Mueller_masks", said)
    remember_meaning(ws, "lungs", tmp_path / "Mueller_masks", said)
    remember_meaning(ws, "lungs", tmp_path / "Mueller_masks", later)
    ws = open_workspace()
    assert recall_meaning(ws, "lungs", tmp_path / "Mueller_masks") == later
    assert recall_meaning(ws, "covid", tmp_path / "Mueller_masks") is None
    assert recall_meaning(ws, "lungs", tmp_path / "others") is None
    ws.close()
    assert b"Mueller_masks" not in (tmp_path / "project" / "project.sqlite").read_bytes(), "a path may name a patient"
