import numpy as np
import pytest
from training_phantoms import small_card

from napari_medseg.core.model_card import InstanceSeparation
from training.data.instance_targets import compute_depth_classes, make_network_targets

LEVELS = [0.0, 0.5]


def test_every_object_has_a_rim_and_a_core_of_its_own_whatever_its_size() -> None:
    objects = np.zeros((60, 60), np.uint16)
    objects[5:45, 5:25], objects[5:45, 25:45], objects[50:55, 50:55] = 1, 2, 3
    classes = compute_depth_classes(objects, LEVELS)
    np.testing.assert_array_equal(classes > 0, objects > 0)
    for number in (1, 2, 3):
        assert set(np.unique(classes[objects == number])) == {1, 2}
    assert (classes[10:40, 24:26] == 1).all()  # the rim runs between objects that touch


def test_an_object_at_the_pictures_border_has_its_rim_there() -> None:
    objects = np.zeros((20, 20), np.uint8)
    objects[:10, :10] = 4
    classes = compute_depth_classes(objects, LEVELS)
    assert (classes[0, :10] == 1).all()
    assert classes[5, 5] == 2


def test_levels_are_shares_of_the_greatest_depth() -> None:
    objects = np.zeros((41, 41), np.uint8)
    objects[1:40, 1:40] = 1  # depth 20 in the middle
    classes = compute_depth_classes(objects, [0.0, 0.3, 0.6])
    assert [int(value) for value in classes[20, [1, 5, 6, 11, 12, 20]]] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("shape", [(64, 64), (3, 64, 64)])
def test_a_task_of_regions_is_asked_for_its_labels(shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape, dtype=np.uint8)
    np.testing.assert_array_equal(make_network_targets(labels, small_card()), labels)


def test_planes_of_a_stack_are_encoded_one_by_one() -> None:
    card = small_card().model_copy(update={"instances": InstanceSeparation(levels=LEVELS)})
    stack = np.zeros((2, 16, 16), np.uint8)
    stack[:, 2:14, 2:14] = 1
    classes = make_network_targets(stack, card)
    assert classes.shape == stack.shape
    np.testing.assert_array_equal(classes[0], classes[1])
    assert classes.max() == 2
