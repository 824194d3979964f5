"""Confidence interval of a mean change, for few or many pairs, without assuming a normal distribution."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from napari_medseg.core.quality.metrics import compute_bootstrap_interval

MAX_EXACT_PAIRS = 12
POWER_Z = 0.84
"""Normal quantile of 80 %, the statistical power: how often a change of the observed size is detected."""


def compute_min_pairs(confidence: float) -> int:
    """Return the minimum number of pairs for an interval: with fewer, all have the same sign too often by chance.

    Parameters
    ----------
    confidence
        Confidence of a two-sided interval, in (0, 1).
    """
    return math.ceil(math.log2(2.0 / (1.0 - confidence)))


def compute_change_interval(changes: Sequence[float], confidence: float, seed: int = 0) -> tuple[float, float] | None:
    """Return the interval of the mean change of independent pairs; `None` if there are too few for that confidence.

    Up to `MAX_EXACT_PAIRS` pairs it is the interval of the exact sign-flip test: the sorted means of all subsets divide
    the line into intervals that contain the centre with equal probability (Hartigan, Using subsample values as typical
    values, JASA 1969). With more pairs, it is the percentile bootstrap interval of the mean.

    Parameters
    ----------
    changes
        One per independent unit, such as a patient.
    confidence
        Two-sided, in (0, 1).
    seed
        Seed of the bootstrap.
    """
    if len(changes) < compute_min_pairs(confidence):
        return None
    if len(changes) > MAX_EXACT_PAIRS:
        return compute_bootstrap_interval(changes, seed=seed, confidence=confidence)
    members = (np.arange(1, 2 ** len(changes))[:, np.newaxis] >> np.arange(len(changes))) & 1
    means = np.sort(members @ np.asarray(changes, np.float64) / members.sum(axis=1))
    rank = math.floor(2 ** len(changes) * (1.0 - confidence) / 2.0 + 1e-9)
    return float(means[rank - 1]), float(means[-rank])


def estimate_required_pairs(changes: Sequence[float], confidence: float) -> int:
    """Estimate how many such pairs are needed to detect this mean change with a power of 80 %.

    Uses the normal approximation, but never returns fewer than `compute_min_pairs`; returns 0 if the mean is 0 or less.
    """
    mean = float(np.mean(changes))
    if mean <= 0:
        return 0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0) + POWER_Z
    spread = float(np.std(changes, ddof=1)) if len(changes) > 1 else 0.0
    return max(compute_min_pairs(confidence), math.ceil((z * spread / mean) ** 2))
