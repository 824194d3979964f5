"""What a person drew in another layer wins over the labels of the case, and objects never share a number by chance."""

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.merge_labels import merge_labels

LUNGS, NUCLEI = TASKS["lungs"], TASKS["nuclei"]


def test_drawn_voxels_win_and_the_others_stay() -> None:
    labels = np.array([[1, 1, 0, 2]], np.uint8)
    drawn = np.array([[0, 2, 2, 0]], np.int64)
    merged = merge_labels(labels, drawn, LUNGS)
    assert merged.tolist() == [[1, 2, 2, 2]]
    assert merged.dtype == np.uint8
    assert labels.tolist() == [[1, 1, 0, 2]]


def test_each_drawn_object_gets_a_number_of_its_own() -> None:
    labels = np.array([[1, 0, 0, 0, 0, 0, 7]], np.uint32)
    drawn = np.array([[0, 0, 1, 0, 1, 1, 0]], np.uint8)
    assert merge_labels(labels, drawn, NUCLEI).tolist() == [[1, 0, 8, 0, 9, 9, 7]]


def test_touching_objects_with_two_values_stay_two() -> None:
    labels, drawn = np.zeros((1, 4), np.uint32), np.array([[3, 3, 5, 0]], np.uint8)
    merged = merge_labels(labels, drawn, NUCLEI)
    assert merged[0, 0] == merged[0, 1] != merged[0, 2] > 0


@pytest.mark.parametrize(("drawn", "text"), [([[0, 3]], "value 3, which Lungs"), ([[300, -1]], "value -1, 300")])
def test_a_value_that_is_no_label_is_refused(drawn: list[list[int]], text: str) -> None:
    with pytest.raises(MedSegError, match=text):
        merge_labels(np.zeros((1, 2), np.uint8), np.array(drawn), LUNGS)


def test_another_shape_is_refused() -> None:
    with pytest.raises(MedSegError, match=r"shape \(1, 3\), but the image has \(1, 2\)"):
        merge_labels(np.zeros((1, 2), np.uint8), np.zeros((1, 3), np.uint8), LUNGS)
