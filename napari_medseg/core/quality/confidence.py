"""Confidence that a mean change of few patients is real, also if the changes are skewed, have heavy tails or ties.

A percentile bootstrap is too narrow with few groups, and Student's t is wrong if a few patients lose much and most gain
a little: then the mean of a small sample and its spread are both too optimistic. Hall (On the removal of skewness by
transformation, JRSS B 1992) corrects t for the skewness of the sample. A small sample shows too little of its skewness,
so here it is assumed to be larger than it looks and less favourable, and the result is never better than that of t.
`benchmarks/promotion_gate.py` measures coverage and errors; the numbers are in ``docs/retraining.md``.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

SKEWNESS_FACTOR = 1.75
"""A small sample shows about this much less than the true skewness. Chosen by simulation, as the next number."""
SKEWNESS_ERRORS = 0.9
"""Standard errors by which the skewness is taken to be less favourable than it looks."""
POWER_Z = 0.84
"""Normal quantile of 80 %, the statistical power: how often a change of the observed size is detected."""
MIN_PAIRS = 3
"""Fewer have no skewness."""
N_REFINEMENTS = 4
NO_SPREAD = 1e-9
"""A smaller standard deviation is a rounding error: all changes are the same."""


def compute_min_pairs(confidence: float) -> int:
    """Return the minimum number of pairs for an interval: with fewer, all have the same sign too often by chance.

    Parameters
    ----------
    confidence
        Confidence of a two-sided interval, in (0, 1).
    """
    return math.ceil(math.log2(2.0 / (1.0 - confidence)) - 1e-9)


def compute_gain_p_value(changes: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of so large a mean change, or a larger one, if the true mean is 0 (one-sided).

    It is never below 2 to the power of minus n: that often, n changes are all positive by chance.

    Parameters
    ----------
    changes
        Shape (..., n): one number per independent unit, such as a patient, along the last axis; n is at least 3.

    Returns
    -------
    array
        Shape (...), in (0, 1].
    """
    values = np.asarray(changes, np.float64)
    n = values.shape[-1]
    mean, spread = values.mean(axis=-1), values.std(axis=-1, ddof=1)
    is_spread = spread > NO_SPREAD
    without_spread = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    ratio = np.where(is_spread, mean / np.where(is_spread, spread, 1.0), without_spread)
    skewness = _assume_skewness(values)
    third = np.where(np.isfinite(ratio), 1.0 + skewness * ratio / 3.0, 1.0)
    cubic = np.where(skewness < 0, (third**3 - 1.0) / np.where(skewness < 0, skewness, 1.0), ratio)
    corrected = np.where(np.isfinite(ratio), cubic + skewness / (6.0 * n), ratio)
    chance = special.stdtr(n - 1, -math.sqrt(n) * np.minimum(ratio, corrected))
    return np.asarray(np.maximum(chance, 0.5**n))


def compute_change_interval(changes: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Return the interval of the mean change of independent pairs; `None` if there are too few for that confidence.

    Parameters
    ----------
    changes
        One per independent unit, such as a patient.
    confidence
        Two-sided, in (0, 1).
    """
    if len(changes) < max(MIN_PAIRS, compute_min_pairs(confidence)):
        return None
    values = np.asarray(changes, np.float64)
    low, high = compute_lower_bound(values, confidence), -compute_lower_bound(-values, confidence)
    return float(low), float(high)


def compute_lower_bound(changes: ArrayLike, confidence: float) -> NDArray[np.float64]:
    """Return the lower end of the two-sided interval of the mean, for each sample (shape (..., n) to shape (...)).

    It is the mean for which `compute_gain_p_value` of the difference is half of one minus the confidence.
    """
    values = np.asarray(changes, np.float64)
    n = values.shape[-1]
    quantile = special.stdtrit(n - 1, (1.0 + confidence) / 2.0) / math.sqrt(n)
    skewness = _assume_skewness(values)
    divisor = np.where(skewness < 0, skewness, 1.0)
    ratio = 3.0 / divisor * (np.cbrt(1.0 + skewness * (quantile - skewness / (6.0 * n))) - 1.0)
    errors = np.maximum(quantile, np.where(skewness < 0, ratio, quantile))
    return np.asarray(values.mean(axis=-1) - errors * values.std(axis=-1, ddof=1))


def estimate_required_pairs(changes: Sequence[float], confidence: float) -> int:
    """Estimate how many such pairs are needed to detect this mean change with a power of 80 %.

    Assumes normal changes. Never returns fewer than `compute_min_pairs`; returns 0 if the mean is 0 or less.
    """
    mean = float(np.mean(changes))
    if mean <= 0:
        return 0
    spread = float(np.std(changes, ddof=1)) if len(changes) > 1 else 0.0
    n_pairs = compute_min_pairs(confidence)
    for _ in range(N_REFINEMENTS):  # fewer pairs need a larger quantile
        quantile = float(special.stdtrit(n_pairs - 1, (1.0 + confidence) / 2.0)) + POWER_Z
        n_pairs = max(compute_min_pairs(confidence), math.ceil((quantile * spread / mean) ** 2))
    return n_pairs


def _assume_skewness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the skewness to correct for: that of each sample, exaggerated, less favourable, and never above 0."""
    n = values.shape[-1]
    centred = values - values.mean(axis=-1, keepdims=True)
    spread = values.std(axis=-1)
    is_spread = spread > NO_SPREAD
    third = (centred**3).mean(axis=-1) / np.where(is_spread, spread, 1.0) ** 3
    skewness = np.where(is_spread, third, 0.0) * math.sqrt(n * (n - 1)) / (n - 2)
    error = math.sqrt(6.0 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))  # if the changes are normal
    return np.asarray(np.minimum(SKEWNESS_FACTOR * skewness - SKEWNESS_ERRORS * error, 0.0))
