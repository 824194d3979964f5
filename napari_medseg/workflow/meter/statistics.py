"""Medians with bootstrap intervals over cases. All intervals hold 95 %; the same cases give the same interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_CASES = 8
"""Fewer cases give no figure: the interval of a median of so few covers almost all of them."""
N_SAMPLES = 1000
CONFIDENCE = 0.95
MAX_RESAMPLED = 500
"""More values are thinned to so many, evenly by rank: it saves seconds, and makes an interval wider, never narrower."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def estimate_median(values: Sequence[float]) -> Estimate | None:
    """Return the median with its percentile bootstrap interval; `None` with fewer than `MIN_CASES` values."""
    if len(values) < MIN_CASES:
        return None
    return _make_estimate(float(np.median(values)), _resample_medians(values, np.random.default_rng(0)))


def estimate_median_change(before: Sequence[float], after: Sequence[float]) -> Estimate | None:
    """Return the median of `after` minus that of `before`; `None` if either has fewer than `MIN_CASES` values."""
    if min(len(before), len(after)) < MIN_CASES:
        return None
    rng = np.random.default_rng(0)
    change = float(np.median(after) - np.median(before))
    return _make_estimate(change, _resample_medians(after, rng) - _resample_medians(before, rng))


def estimate_mean(values: Sequence[float]) -> Estimate | None:
    """Return the mean with its percentile bootstrap interval; `None` with fewer than `MIN_CASES` values."""
    if len(values) < MIN_CASES:
        return None
    numbers = _thin(values)
    draws = np.random.default_rng(0).integers(0, numbers.size, (N_SAMPLES, numbers.size))
    return _make_estimate(float(np.mean(values)), numbers[draws].mean(axis=1))


def estimate_sum(values: Sequence[float], n_new: int) -> Estimate | None:
    """Predict the sum of `n_new` new values; `None` with fewer than `MIN_CASES` known ones.

    The range has both what is not known of the mean and the chance of the new values: each sample draws the known
    values again, and from these the new ones.
    """
    if len(values) < MIN_CASES:
        return None
    rng, numbers = np.random.default_rng(0), _thin(values)
    drawn = numbers[rng.integers(0, numbers.size, (N_SAMPLES, numbers.size))]
    spread = np.sqrt(n_new) * drawn.std(axis=1) * rng.standard_normal(N_SAMPLES)  # of a sum of many
    if n_new <= numbers.size:
        chosen = rng.integers(0, numbers.size, (N_SAMPLES, n_new))
        sums = np.take_along_axis(drawn, chosen, axis=1).sum(axis=1)
    else:
        sums = np.maximum(0.0, n_new * drawn.mean(axis=1) + spread)
    return _make_estimate(n_new * float(np.mean(values)), sums)


def _resample_medians(values: Sequence[float], rng: np.random.Generator) -> NDArray[np.float64]:
    numbers = _thin(values)
    draws = rng.integers(0, numbers.size, (N_SAMPLES, numbers.size))
    return np.asarray(np.median(numbers[draws], axis=1))


def _thin(values: Sequence[float]) -> NDArray[np.float64]:
    numbers = np.sort(np.asarray(values, np.float64))
    if numbers.size <= MAX_RESAMPLED:
        return numbers
    return numbers[np.linspace(0, numbers.size - 1, MAX_RESAMPLED).round().astype(np.intp)]


def _make_estimate(value: float, samples: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(samples, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Estimate(value, float(low), float(high))
