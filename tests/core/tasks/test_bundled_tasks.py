"""Tasks are data, and each is complete."""

import re

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS, get_task


@pytest.mark.parametrize("name", TASKS)
def test_task_is_complete(name: str) -> None:
    task = get_task(name)
    assert task.name == name
    values = [label.value for label in task.labels]
    assert len(set(values)) == len(values)
    assert min(values) > 0
    assert len({label.name for label in task.labels}) == len(values)
    assert all(re.fullmatch(r"#[0-9A-F]{6}", label.colour) for label in task.labels)
    assert task.n_classes == max(values) + 1
    assert set(task.axes) <= {"YX", "ZYX", "YXC", "ZYXC"}
    assert task.sides is None or set(task.sides) <= set(values)
    assert task.default_model


def test_right_lung_is_one_and_left_is_two() -> None:
    lungs = get_task("lungs")
    assert lungs.sides == (1, 2)
    assert [lungs.get_label_name(value) for value in (0, 1, 2, 7)] == [
        "background",
        "right lung",
        "left lung",
        "label 7",
    ]


def test_unknown_task_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match=r"unknown task 'liver'; choose one of \[.*'lungs'.*\]"):
        get_task("liver")
