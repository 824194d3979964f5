"""Intervals of a mean change: exact for few pairs, bootstrapped for many, and none where too few."""

import numpy as np
import pytest

from napari_medseg.core.quality.confidence import compute_change_interval, compute_min_pairs, estimate_required_pairs


@pytest.mark.parametrize(("confidence", "fewest"), [(0.5, 2), (0.9, 5), (0.95, 6), (0.99, 8)])
def test_fewest_pairs_follow_from_chance(confidence: float, fewest: int) -> None:
    assert compute_min_pairs(confidence) == fewest
    assert compute_change_interval([1.0] * (fewest - 1), confidence) is None
    assert compute_change_interval([1.0] * fewest, confidence) == pytest.approx((1.0, 1.0))


def test_five_pairs_reach_from_the_least_to_the_greatest() -> None:
    assert compute_change_interval([0.3, 0.1, 0.5, 0.2, 0.4], 0.9) == pytest.approx((0.1, 0.5))


def test_two_pairs_have_three_typical_values() -> None:
    """The means of the subsets of {0, 2} are 0, 1 and 2; four pieces of equal chance, so half lies between 0 and 2."""
    assert compute_change_interval([0.0, 2.0], 0.5) == pytest.approx((0.0, 2.0))


@pytest.mark.parametrize("n_pairs", [6, 12, 30])
def test_intervals_hold_the_truth_as_often_as_they_say(n_pairs: int) -> None:
    rng = np.random.default_rng(n_pairs)
    n_trials, inside = 400, 0
    for _ in range(n_trials):
        interval = compute_change_interval(list(rng.normal(0.1, 0.2, n_pairs)), 0.9)
        assert interval is not None
        inside += interval[0] <= 0.1 <= interval[1]
    assert 0.84 < inside / n_trials < 0.97


def test_pairs_needed_grow_with_the_spread() -> None:
    few, many = estimate_required_pairs([0.1, 0.12, 0.09], 0.9), estimate_required_pairs([0.3, -0.2, 0.1], 0.9)
    assert few == 5
    assert many > 50
    assert estimate_required_pairs([-0.1, 0.05], 0.9) == 0
