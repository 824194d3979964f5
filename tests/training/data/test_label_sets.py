import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.label_sets import (
    compute_dice_per_value,
    encode_label_set,
    list_members,
    mark_certain,
    replace_by_sets,
    unmark_certain,
)

LESION = encode_label_set([1, 2])


def test_a_set_has_one_code_that_names_its_classes() -> None:
    assert encode_label_set([2, 1]) == LESION
    assert list_members(LESION) == (1, 2)
    assert list_members(2) == (2,)
    assert len({encode_label_set(members) for members in ([1, 3], [1, 2], [1, 2, 3], [1, 6])}) == 4
    assert list_members(LESION, n_classes=200) == (LESION,), "a task with many labels has a class of this number"


@pytest.mark.parametrize("members", [[], [1], [1, 1], [1, 7], [0, 1]])
def test_a_set_of_one_class_with_background_or_with_an_unknown_one_is_refused(members: list[int]) -> None:
    with pytest.raises(MedSegError, match="label set"):
        encode_label_set(members)


def test_only_the_values_of_a_set_are_replaced() -> None:
    labels = np.array([[0, 1, 2]])
    assert replace_by_sets(labels, labels, {1: (1, 2)}, 3).tolist() == [[0, LESION, 2]]
    assert replace_by_sets(labels, labels, {}, 3) is labels


def test_a_set_must_fit_the_network_and_keep_its_meaning_in_a_mirror() -> None:
    labels = np.array([[1]])
    with pytest.raises(MedSegError, match="2 classes"):
        replace_by_sets(labels, labels, {1: (1, 2)}, 2)
    with pytest.raises(MedSegError, match="one side only"):
        replace_by_sets(labels, labels, {1: (1, 3)}, 4, sides=(1, 2))
    assert replace_by_sets(labels, labels, {1: (1, 2)}, 3, sides=(1, 2)).tolist() == [[LESION]]


def test_the_dice_of_a_set_counts_all_its_classes_and_no_class_that_it_hides() -> None:
    predicted = np.array([[1, 2, 0, 2, 1]])
    labels = np.array([[LESION, LESION, 0, 0, IGNORE_INDEX]])
    assert compute_dice_per_value(predicted, labels, [1, 2, LESION], 3) == {LESION: pytest.approx(2 * 2 / (2 + 3))}
    plain = np.array([[1, 2, 0, 0, IGNORE_INDEX]])
    assert compute_dice_per_value(predicted, plain, [1, 2, LESION], 3) == {1: 1.0, 2: pytest.approx(2 / 3), LESION: 0.8}


def test_what_a_person_set_is_marked_and_sets_and_ignored_pixels_are_not() -> None:
    classes = np.array([[0, 1, 2, LESION, IGNORE_INDEX, 2]])
    certain = np.array([[True, True, True, True, True, False]])
    marked = mark_certain(classes, certain, 3)
    assert [list_members(int(value)) for value in marked[0, :3]] == [(0,), (1,), (2,)]
    assert marked[0, 3:].tolist() == [LESION, IGNORE_INDEX, 2]
    assert unmark_certain(marked).tolist() == classes.tolist()
    assert mark_certain(classes, np.zeros_like(certain), 3) is classes
    assert mark_certain(classes, certain, 8) is classes, "there are no codes for so many classes"
