import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import PostprocessingStep
from training.data.label_transforms import (
    LABEL_STEPS,
    apply_label_steps,
    compute_distance_classes,
    dilate,
    drop_outside_air,
    mark_boundaries,
    split_touching,
)


def two_squares() -> np.ndarray:
    """Objects 1 and 2 of 8 x 8 pixels side by side, touching."""
    labels = np.zeros((16, 24), np.uint8)
    labels[4:12, 4:12], labels[4:12, 12:20] = 1, 2
    return labels


def test_steps_are_taken_in_order_and_plane_by_plane() -> None:
    labels = np.stack([two_squares(), np.zeros_like(two_squares())])
    steps = [PostprocessingStep(name="binarise"), PostprocessingStep(name="dilate", options={"radius_px": 3})]
    grown = apply_label_steps(labels, steps)
    assert set(np.unique(grown)) == {0, 1}
    assert not grown[1].any()
    assert grown[0, 8, 1] == 1
    assert grown[0, 8, 0] == 0
    np.testing.assert_array_equal(labels[0], two_squares())
    assert apply_label_steps(labels, []) is labels


def test_dilated_labels_do_not_grow_into_each_other() -> None:
    labels = two_squares()
    grown = dilate(labels, 2.0)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    assert grown[2, 5] == 1
    assert grown[2, 18] == 2
    assert grown[1, 5] == 0


def test_boundaries_run_between_objects_that_touch() -> None:
    classes = mark_boundaries(two_squares(), width_px=1.0)
    assert (classes[4:12, 11:13] == 2).all()
    assert (classes[5:11, 5:11] == 1).all()
    np.testing.assert_array_equal(classes > 0, two_squares() > 0)
    wide = mark_boundaries(two_squares(), width_px=2.0)
    assert (wide[5:11, 10:14] == 2).all()
    assert (wide[6:10, 6:10] == 1).all()
    assert not mark_boundaries(np.zeros((8, 8), np.uint8)).any()


def test_distance_gives_steps_of_depth_to_each_object() -> None:
    classes = compute_distance_classes(two_squares())
    assert (classes[4:12, 11:13] == 1).all()  # depth 1 of 4, where the neighbour begins
    assert (classes[5:11, 5:11] == 2).all()
    assert (classes[5:11, 13:19] == 2).all()


def test_what_is_ignored_stays_ignored_through_all_steps() -> None:
    labels = two_squares()
    labels[4:12, 12:20] = 255
    steps = [PostprocessingStep(name="binarise"), PostprocessingStep(name="dilate")]
    changed = apply_label_steps(labels, steps, ignored_value=255)
    np.testing.assert_array_equal(changed == 255, labels == 255)
    assert changed[8, 2] == 1


def test_an_unknown_step_or_option_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="split_touching"):
        apply_label_steps(two_squares(), [PostprocessingStep(name="erode")])
    with pytest.raises(MedSegError, match="radius_px"):
        apply_label_steps(two_squares(), [PostprocessingStep(name="dilate", options={"radius_mm": 3})])


@pytest.mark.parametrize("name", sorted(LABEL_STEPS))
def test_every_step_leaves_an_empty_plane_empty(name: str) -> None:
    assert not apply_label_steps(np.zeros((12, 12), np.uint16), [PostprocessingStep(name=name)]).any()


def test_air_at_the_border_is_no_lung_but_a_cut_lung_is() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[5:30, 0:15] = 1  # a lung that the picture's border cuts
    labels[35:, :6] = 1
    labels[10:12, 18:20] = 1  # inside: left to the postprocessing
    labels[20:30, 25:35] = 2
    cleaned = drop_outside_air(labels)
    assert not cleaned[35:, :6].any()
    np.testing.assert_array_equal(cleaned[:32], labels[:32])


def test_objects_of_a_mask_that_touch_are_numbered() -> None:
    mask = np.hypot(*(np.indices((40, 60)) - np.array([20, 18])[:, None, None])) < 12
    mask |= np.hypot(*(np.indices((40, 60)) - np.array([20, 40])[:, None, None])) < 12
    objects = split_touching(mask)
    assert set(np.unique(objects)) == {0, 1, 2}
    assert objects[20, 18] != objects[20, 40]
    np.testing.assert_array_equal(objects > 0, mask)
