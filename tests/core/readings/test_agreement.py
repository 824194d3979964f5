"""How far labels agree, against Dice of each label computed one by one."""

from dataclasses import replace

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.metrics import compute_dice_per_label
from napari_medseg.core.readings.agreement import LabelScore, compute_agreement, compute_label_scores
from napari_medseg.core.tasks.bundled_tasks import TASKS

LUNGS, NUCLEI = TASKS["lungs"], TASKS["nuclei"]


@pytest.mark.parametrize("shape", [(20, 30), (7, 20, 30)])
def test_dice_is_the_mean_over_labels_that_occur(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 3, (2, *shape)).astype(np.uint8)
    one[..., :5, :], other[..., :5, :] = 0, 0
    if len(shape) == 3:
        one[2:4], other[2:4] = 0, 0
    found = compute_agreement(one, other, LUNGS)
    assert found.dice == pytest.approx(np.mean(list(compute_dice_per_label(one, other, [1, 2]).values())))
    assert found.labelled_voxels == np.count_nonzero((one > 0) | (other > 0))
    only_right = compute_agreement(one * (one == 1), other * (other == 1), LUNGS)
    assert only_right.dice == pytest.approx(compute_dice_per_label(one, other, [1])[1])


def test_nothing_on_both_sides_is_no_agreement_and_one_side_is_none_at_all() -> None:
    empty, full = np.zeros((4, 5), np.uint8), np.ones((4, 5), np.uint8)
    assert compute_agreement(empty, empty, LUNGS) == replace(compute_agreement(empty, empty, NUCLEI))
    assert compute_agreement(empty, empty, LUNGS).dice is None
    assert compute_agreement(empty, full, LUNGS).dice == 0.0
    with pytest.raises(MedSegError, match="cannot be compared"):
        compute_agreement(empty, full[:2], LUNGS)


def test_numbers_of_objects_mean_nothing_between_readers() -> None:
    one = np.zeros((6, 6), np.uint16)
    one[1:3, 1:3], one[4:, 4:] = 7, 4000
    other = np.where(one, 9, 0).astype(np.uint16)
    assert compute_agreement(one, other, NUCLEI).dice == 1.0
    (score,) = compute_label_scores(one, other, NUCLEI, None)
    assert score == LabelScore(NUCLEI.labels[0].value, 1.0, 0.0)


def test_only_reviewed_pixels_count() -> None:
    one, other = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    other[:2] = 1
    seen = np.zeros((4, 4), bool)
    seen[:2] = True
    assert compute_agreement(one, other, LUNGS, seen) == replace(compute_agreement(one[:2], other[:2], LUNGS))


def test_distances_are_in_the_unit_of_the_spacing() -> None:
    one, other = np.zeros((2, 30, 30), np.uint8)
    one[5:20, 5:20], other[5:20, 9:24] = 1, 1
    in_pixels, in_mm = (compute_label_scores(one, other, LUNGS, spacing)[0] for spacing in (None, (1.0, 0.5)))
    assert (in_pixels.hd95, in_mm.hd95) == (4.0, 2.0)
    gone, never = compute_label_scores(one, np.zeros_like(one), LUNGS, None)
    assert (gone.dice, gone.hd95) == (0.0, None)
    assert (never.dice, never.hd95) == (None, None)
