"""Differences of two label arrays, and Dice of each label."""

import numpy as np
import pytest

from napari_medseg.core.errors import GridMismatchError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.masks.comparison import compare_labels


def test_each_voxel_is_equal_only_mine_only_theirs_or_of_another_label() -> None:
    mine = np.array([[0, 1, 1, 2, 2, 0]], np.uint8)
    theirs = np.array([[0, 1, 0, 1, 2, 2]], np.uint16)
    found = compare_labels(mine, theirs, TASKS["lungs"])
    assert found.differences.tolist() == [[0, 0, 1, 3, 0, 2]]
    assert found.text == "Dice: right lung 0.500, left lung 0.500"


def test_a_label_that_neither_has_scores_nothing() -> None:
    one = np.array([[0, 1]])
    assert compare_labels(one, one, TASKS["lungs"]).text == "Dice: right lung 1.000, left lung in neither"


def test_numbers_of_objects_do_not_count_and_shapes_must_be_equal() -> None:
    found = compare_labels(np.array([[7, 7, 0, 9]]), np.array([[1, 1, 1, 2]]), TASKS["nuclei"])
    assert found.differences.tolist() == [[0, 0, 2, 0]]
    assert found.dice["nucleus"] == pytest.approx(6 / 7)
    with pytest.raises(GridMismatchError, match="has 1 x 2 voxels, but the labels have 1 x 3"):
        compare_labels(np.zeros((1, 3)), np.zeros((1, 2)), TASKS["nuclei"])
