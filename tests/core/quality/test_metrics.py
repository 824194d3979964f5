"""Metrics against numbers that can be worked out by hand, and against slow but plain definitions."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.metrics import (
    compute_bootstrap_interval,
    compute_dice,
    compute_dice_per_label,
    compute_surface_distances,
)

EMPTY = np.zeros((6, 6), np.uint8)
SQUARE = EMPTY.copy()
SQUARE[1:5, 1:5] = 1


def test_dice_by_hand() -> None:
    half = SQUARE.copy()
    half[1:3] = 0
    assert compute_dice(SQUARE, half) == 2 * 8 / 24
    assert compute_dice(SQUARE, SQUARE) == 1.0
    assert compute_dice(SQUARE, 1 - SQUARE) == 0.0


def test_empty_regions() -> None:
    assert compute_dice(EMPTY, EMPTY) == 1.0
    assert compute_dice(EMPTY, SQUARE) == compute_dice(SQUARE, EMPTY) == 0.0


def test_per_label_is_dice_of_each_label() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 4, (2, 20, 30)).astype(np.uint8)
    scores = compute_dice_per_label(a, b, [1, 2, 9])
    assert scores == {1: compute_dice(a == 1, b == 1), 2: compute_dice(a == 2, b == 2), 9: 1.0}
    swapped = np.array([0, 2, 1, 3], np.uint8)[a]
    assert compute_dice_per_label(swapped, a, [1, 2]) == {1: 0.0, 2: 0.0}


def test_surface_distance_of_a_shift() -> None:
    shifted = np.roll(SQUARE, 1, axis=1)
    distances = compute_surface_distances(SQUARE, shifted, (1.0, 2.5))
    assert distances.hd95 == pytest.approx(2.5)
    assert 0 < distances.mean < 2.5


def test_surface_distances_match_the_plain_definition() -> None:
    random = np.random.default_rng(1)
    a, b = random.random((2, 7, 8, 9)) > 0.6
    spacing = np.array([5.0, 0.8, 0.7])

    def surface(inside: np.ndarray) -> np.ndarray:
        padded = np.pad(inside, 1)
        core = tuple(slice(1, -1) for _ in range(3))
        neighbours = [np.roll(padded, step, axis)[core] for axis in range(3) for step in (-1, 1)]
        return np.argwhere(inside & ~np.logical_and.reduce(neighbours)) * spacing

    between = cdist(surface(a), surface(b))
    both_ways = np.concatenate([between.min(axis=1), between.min(axis=0)])
    distances = compute_surface_distances(a, b, spacing.tolist())
    assert distances.mean == pytest.approx(both_ways.mean())
    assert distances.hd95 == pytest.approx(np.percentile(both_ways, 95))


def test_surface_distances_of_empty_and_equal_regions() -> None:
    assert compute_surface_distances(EMPTY, EMPTY, (1, 1)).hd95 == 0.0
    assert compute_surface_distances(SQUARE, SQUARE, (1, 1)).mean == 0.0
    assert math.isinf(compute_surface_distances(EMPTY, SQUARE, (1, 1)).hd95)


def test_bootstrap_interval_is_of_the_mean_and_repeatable() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.05, 400).tolist()
    low, high = compute_bootstrap_interval(values)
    assert (low, high) == compute_bootstrap_interval(values)
    assert low < np.mean(values) < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 20, rel=0.15)
    assert compute_bootstrap_interval([0.5]) == (0.5, 0.5)
    assert compute_bootstrap_interval(values, seed=1) != (low, high)


def test_other_shapes_and_no_values_are_refused() -> None:
    for compare in (
        compute_dice,
        lambda a, b: compute_dice_per_label(a, b, [1]),
        lambda a, b: compute_surface_distances(a, b, (1, 1)),
    ):
        with pytest.raises(MedSegError, match="cannot be compared"):
            compare(SQUARE, SQUARE[1:])
    with pytest.raises(MedSegError, match="at least one value"):
        compute_bootstrap_interval([])
