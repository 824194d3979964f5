"""Figures of objects against values worked out by hand, and against MONAI where it has them."""

import numpy as np
import pytest
import torch
from monai.metrics.panoptic_quality import compute_panoptic_quality

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.instance_metrics import compute_object_scores


def squares(*places: tuple[int, int, int], side: int = 40) -> np.ndarray:
    """One square object for each (row, column, side)."""
    objects = np.zeros((side, side), np.uint32)
    for number, (row, column, size) in enumerate(places, start=1):
        objects[row : row + size, column : column + size] = number
    return objects


def test_equal_objects_agree_whatever_their_numbers() -> None:
    reference = squares((2, 2, 8), (20, 20, 10))
    numbered_otherwise = np.where(reference > 0, 700 - reference, 0)
    scores = compute_object_scores(numbered_otherwise, reference)
    assert (scores.aji, scores.pq, scores.dq, scores.sq) == (1.0, 1.0, 1.0, 1.0)
    assert (scores.n_predicted, scores.n_reference) == (2, 2)


def test_values_worked_out_by_hand() -> None:
    # one object of 10 x 10, found 10 x 8 of it; one of 4 x 4 missed; one of 5 x 5 invented
    reference = squares((0, 0, 10), (30, 30, 4))
    prediction = squares((0, 0, 10), (20, 0, 5))
    prediction[0:10, 8:10] = 0
    scores = compute_object_scores(prediction, reference)
    assert scores.sq == pytest.approx(0.8)
    assert scores.dq == scores.f1 == pytest.approx(0.5)
    assert scores.pq == pytest.approx(0.4)
    assert scores.aji == pytest.approx(80 / (100 + 16 + 25))


def test_two_objects_taken_for_one_are_half_found() -> None:
    reference = np.zeros((10, 20), np.uint8)
    reference[:, :10], reference[:, 10:] = 1, 2
    scores = compute_object_scores(np.ones((10, 20), np.uint8), reference)
    assert scores.dq == 0.0  # an IoU of exactly one half is no match
    assert scores.aji == pytest.approx((100 + 100) / (200 + 200))


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0)])
def test_images_without_objects(ours: int, theirs: int, expected: float) -> None:
    scores = compute_object_scores(np.full((4, 4), ours), np.full((4, 4), theirs))
    assert (scores.aji, scores.pq, scores.f1) == (expected, expected, expected)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(MedSegError, match="cannot be compared"):
        compute_object_scores(np.zeros((4, 4)), np.zeros((4, 5)))


def test_panoptic_quality_is_that_of_monai() -> None:
    rng = np.random.default_rng(0)
    places = [(int(row), int(column), 6) for row in range(0, 36, 9) for column in range(0, 36, 9)]
    reference = squares(*places)
    prediction = squares(*((row + rng.integers(0, 3), column + rng.integers(0, 3), 6) for row, column, _ in places[3:]))
    theirs = compute_panoptic_quality(torch.from_numpy(prediction.astype(int)), torch.from_numpy(reference.astype(int)))
    assert 0 < compute_object_scores(prediction, reference).pq < 1
    assert compute_object_scores(prediction, reference).pq == pytest.approx(float(theirs), abs=1e-5)
