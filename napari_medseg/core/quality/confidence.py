"""How sure a mean change is, from few pairs or many, without believing that the changes are normally distributed."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from napari_medseg.core.quality.metrics import compute_bootstrap_interval

MAX_EXACT_PAIRS = 12
POWER_Z = 0.84
"""Normal quantile of 80 %: how often a change of the size that was seen shall be found."""


def compute_min_pairs(confidence: float) -> int:
    """Fewest pairs from which anything can be told: with fewer, chance alone gives all of them the same sign too often.

    Parameters
    ----------
    confidence
        Of a two-sided interval, in (0, 1).
    """
    return math.ceil(math.log2(2.0 / (1.0 - confidence)))


def compute_change_interval(changes: Sequence[float], confidence: float, seed: int = 0) -> tuple[float, float] | None:
    """Interval of the mean change of independent pairs; `None` where they are too few for that confidence.

    Up to `MAX_EXACT_PAIRS` pairs it is that of the exact sign-flip test: the ordered means of all subsets part the line
    into pieces that hold the centre with the same chance (Hartigan, Using subsample values as typical values, JASA
    1969). With more, it is the percentile bootstrap of the mean.

    Parameters
    ----------
    changes
        One per independent unit, as a patient.
    confidence
        Two-sided, in (0, 1).
    seed
        Of the bootstrap.
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
    """Estimate how many pairs like these would tell such a mean change from none, four times out of five.

    The normal approximation, and never fewer than `compute_min_pairs`; a mean of 0 or below needs no number: 0.
    """
    mean = float(np.mean(changes))
    if mean <= 0:
        return 0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0) + POWER_Z
    spread = float(np.std(changes, ddof=1)) if len(changes) > 1 else 0.0
    return max(compute_min_pairs(confidence), math.ceil((z * spread / mean) ** 2))
