import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import PostprocessingStep
from napari_medseg.inference.postprocess import _split_at_bridges, apply_postprocessing_step, reassign_stray_parts


def postprocess(
    labels: np.ndarray, steps: list[PostprocessingStep], spacing_mm: tuple[float, ...] | None
) -> np.ndarray:
    result = labels.copy()
    for step in steps:
        apply_postprocessing_step(result, step, spacing_mm)
    return result


def cleaned(labels: np.ndarray, step: PostprocessingStep, spacing_mm: tuple[float, ...] | None) -> np.ndarray:
    return postprocess(labels, [step], spacing_mm)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def two_lungs() -> np.ndarray:
    labels = np.zeros((120, 160), np.uint8)
    labels[disc(labels.shape, (60, 45), 30)] = 1
    labels[disc(labels.shape, (60, 115), 30)] = 2
    return labels


def test_only_the_largest_part_of_each_label_is_kept() -> None:
    clean = two_lungs()
    labels = clean.copy()
    labels[5:10, 5:10] = 1
    labels[100:115, 10:20] = 2
    before = labels.copy()
    step = PostprocessingStep(name="largest_component_per_label")
    np.testing.assert_array_equal(cleaned(labels, step, (0.7, 0.7)), clean)
    np.testing.assert_array_equal(labels, before)


def test_parts_of_a_large_enough_share_are_kept() -> None:
    labels = two_lungs()
    labels[5:10, 5:10] = 1
    labels[100:115, 10:30] = 2
    kept = cleaned(labels, PostprocessingStep(name="largest_component_per_label", options={"min_share": 0.05}), None)
    assert (kept == 2).sum() == (labels == 2).sum()
    assert (kept == 1).sum() == (labels == 1).sum() - 25


def test_a_volume_is_connected_in_space_and_a_pile_of_pictures_is_not() -> None:
    stack = np.zeros((6, 120, 160), np.uint8)
    stack[:2] = two_lungs()
    stack[4] = two_lungs()
    step = PostprocessingStep(name="largest_component_per_label")
    assert cleaned(stack, step, (5.0, 0.7, 0.7))[4].sum() == 0
    np.testing.assert_array_equal(cleaned(stack, step, None), stack)


def test_small_parts_are_dropped_by_area_in_planes_and_by_volume_in_volumes() -> None:
    plane = np.zeros((50, 50), np.uint8)
    plane[5:15, 5:15] = 1
    plane[30:33, 30:33] = 3
    options = {"min_area_mm2": 5.0, "min_volume_ml": 0.05}
    step = PostprocessingStep(name="drop_small", options=options)
    assert set(np.unique(cleaned(plane, step, (0.7, 0.7)))) == {0, 1}
    assert set(np.unique(cleaned(plane, step, (1.0, 1.0)))) == {0, 1, 3}
    assert set(np.unique(cleaned(plane, step, None))) == {0, 1, 3}
    volume = np.stack([plane] * 2)
    assert set(np.unique(cleaned(volume, step, (2.0, 1.0, 1.0)))) == {0, 1}
    assert set(np.unique(cleaned(volume, step, (4.0, 1.0, 1.0)))) == {0, 1, 3}


def test_holes_are_filled_up_to_an_area_with_the_label_around_them() -> None:
    whole = two_lungs()
    labels = whole.copy()
    labels[disc(labels.shape, (60, 45), 4)] = 0
    labels[disc(labels.shape, (60, 115), 12)] = 0
    step = PostprocessingStep(name="fill_holes", options={"max_area_mm2": 100.0})
    filled = cleaned(labels, step, (1.0, 1.0))
    np.testing.assert_array_equal(filled[:, :80], whole[:, :80])
    assert filled[60, 115] == 0
    assert cleaned(labels, step, (0.3, 0.3))[60, 115] == 2
    np.testing.assert_array_equal(cleaned(np.stack([labels] * 2), step, None)[1], filled)


def test_background_that_reaches_the_border_is_no_hole() -> None:
    labels = np.ones((40, 40), np.uint8)
    labels[0:3, 10:13] = 0
    assert (cleaned(labels, PostprocessingStep(name="fill_holes"), None) == labels).all()


def test_the_space_between_touching_lungs_is_no_hole_of_one() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:35, 5:30] = 1
    labels[5:35, 30:55] = 2
    labels[18:22, 26:31] = 0
    filled = cleaned(labels, PostprocessingStep(name="fill_holes"), None)
    assert (filled[18:22, 26:31] == 1).all()


def test_a_patch_of_one_lung_in_the_other_goes_to_the_other() -> None:
    truth = np.zeros((120, 160), np.uint8)
    truth[20:100, 20:80] = 1
    truth[20:100, 80:140] = 2
    labels = truth.copy()
    labels[disc(labels.shape, (60, 115), 10)] = 1
    np.testing.assert_array_equal(
        cleaned(labels, PostprocessingStep(name="separate_touching_lungs"), (1.0, 1.0)), truth
    )


def test_a_patch_that_hangs_on_a_thin_bridge_is_cut_off() -> None:
    truth = np.zeros((120, 160), np.uint8)
    truth[20:100, 20:80] = 1
    truth[20:100, 80:140] = 2
    labels = truth.copy()
    labels[disc(labels.shape, (60, 110), 12)] = 1
    labels[59:61, 80:110] = 1
    separated = cleaned(labels, PostprocessingStep(name="separate_touching_lungs"), (1.0, 1.0))
    assert (separated != truth).sum() < 0.2 * (labels != truth).sum()
    assert separated[60, 110] == 2


def test_lungs_that_do_not_touch_stay_as_they_are() -> None:
    labels = two_lungs()
    labels[5:10, 5:10] = 2
    np.testing.assert_array_equal(
        cleaned(labels, PostprocessingStep(name="separate_touching_lungs"), (1.0, 1.0)), labels
    )


def test_a_part_that_lies_with_its_own_label_stays() -> None:
    labels = np.zeros((100, 160), np.uint8)
    labels[10:90, 10:60] = 1
    labels[40:42, 60:70] = 1
    labels[10:40, 70:90] = 1
    labels[42:90, 66:150] = 2
    before = labels.copy()
    separated = cleaned(labels, PostprocessingStep(name="separate_touching_lungs"), (1.0, 1.0))
    assert (separated[10:40] == before[10:40]).all()


def test_steps_run_in_order_and_keep_type_and_shape() -> None:
    labels = np.stack([two_lungs()] * 3).astype(np.uint16)
    names = ["separate_touching_lungs", "largest_component_per_label", "fill_holes", "drop_small"]
    result = postprocess(labels, [PostprocessingStep(name=name) for name in names], (2.0, 1.0, 1.0))
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, labels)
    assert postprocess(np.zeros((5, 5), np.uint8), [PostprocessingStep(name=name) for name in names], None).sum() == 0


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (PostprocessingStep(name="polish"), "fill_holes"),
        (PostprocessingStep(name="fill_holes", options={"max_area": 3}), "max_area_mm2"),
    ],
)
def test_an_unknown_step_or_option_is_answered_with_the_choices(step: PostprocessingStep, named: str) -> None:
    with pytest.raises(MedSegError, match=named):
        cleaned(np.zeros((5, 5), np.uint8), step, None)


def test_a_slice_with_exchanged_sides_follows_its_neighbours() -> None:
    volume = np.zeros((7, 40, 60), np.uint8)
    volume[:, 10:30, 5:25], volume[:, 10:30, 35:55] = 1, 2
    volume[3, 12:28, 8:20] = 1
    truth = volume.copy()
    volume[5] = np.choose(volume[5], [0, 2, 1])
    volume[1, :, :30][volume[1, :, :30] == 1] = 2
    volume[2, 0:3, 0:3] = truth[2, 0:3, 0:3] = 2  # a part that no neighbour knows keeps its label
    consistent = postprocess(volume, [PostprocessingStep(name="consistent_over_slices")], (5.0, 1.0, 1.0))
    np.testing.assert_array_equal(consistent, truth)


def test_slices_of_unknown_spacing_have_no_neighbours() -> None:
    pile = np.stack([np.eye(8, dtype=np.uint8), 2 * np.eye(8, dtype=np.uint8)])
    np.testing.assert_array_equal(postprocess(pile, [PostprocessingStep(name="consistent_over_slices")], None), pile)


def test_labels_grow_by_a_distance_and_the_nearer_one_wins() -> None:
    labels = np.zeros((9, 15), np.uint8)
    labels[4, 3], labels[4, 9] = 1, 2
    grown = postprocess(labels, [PostprocessingStep(name="dilate", options={"radius_mm": 2.0})], (1.0, 1.0))
    assert [int(value) for value in grown[4]] == [0, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 0, 0, 0]
    assert grown[2, 3] == 1
    assert grown[2, 4] == 0
    half = postprocess(labels, [PostprocessingStep(name="dilate", options={"radius_mm": 2.0})], (2.0, 2.0))
    assert np.count_nonzero(half == 1) == 5


def noise(shape: tuple[int, int], sigma: float, seed: int = 0) -> np.ndarray:
    """Two labels in blots of any shape, which touch all over."""
    rng = np.random.default_rng(seed)
    there, which = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(2))
    return np.where(there > 0, np.where(which > 0, 1, 2), 0).astype(np.uint8)


def moved_one_by_one(plane: np.ndarray, spacing_mm: tuple[float, float], bridge_mm: float) -> np.ndarray:
    """The definition: each part but a label's largest goes to the label that it shares most pixel sides with."""
    parts, owners = _split_at_bridges(plane, spacing_mm, bridge_mm / 2)
    largest = {value: max(np.flatnonzero(owners == value), key=lambda part: (parts == part).sum()) for value in (1, 2)}
    result = plane.copy()
    for part in range(1, len(owners)):
        shared = {1: 0, 2: 0}
        for row, column in np.argwhere(parts == part):
            for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] and parts[y, x] not in (0, part):
                    shared[int(plane[y, x])] += 1
        other = 3 - owners[part]
        if part != largest[owners[part]] and shared[other] > shared[int(owners[part])]:
            result[parts == part] = other
        elif part != largest[owners[part]] and other < owners[part] and shared[other] == shared[int(owners[part])] > 0:
            result[parts == part] = other  # of two that are as good, the first
    return result


def test_parts_go_where_they_touch_most() -> None:
    for seed in range(4):
        plane = noise((40, 48), 1.5, seed)
        wanted = moved_one_by_one(plane, (1.0, 1.0), 3.0)
        assert (wanted != plane).any()
        reassign_stray_parts(plane, (1.0, 1.0), 3.0)
        np.testing.assert_array_equal(plane, wanted)


def test_thousands_of_parts_need_no_memory_for_every_pair_of_them() -> None:
    plane = noise((512, 512), 1.0)
    tracemalloc.start()
    try:
        reassign_stray_parts(plane, (0.7, 0.7), 6.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * plane.size
