"""Hold-out cases and patients that lose so much that noise does not explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

MAX_DROP = 0.25
"""A larger drop of one case always counts, however uneven the changes are."""
FALSE_ALARM_RATE = 0.05
"""How often at least one case of a hold-out is reported if all its changes are noise."""
MIN_OTHER_GROUPS = 4
"""With changes of fewer other patients, the noise is unknown: every drop by more than the margin counts."""


@dataclass(frozen=True)
class CaseRegression:
    """A case, or the mean of all cases of a patient (`is_group`), that lost; `change` is negative."""

    name: str
    change: float
    is_group: bool


def find_regressions(changes: Mapping[str, Sequence[tuple[str, float]]], margin: float) -> list[CaseRegression]:
    """Find cases that lose more than `margin` and more than noise explains, then patients; the largest loss first.

    A case is compared with the cases of all other groups, by the externally studentised residual (Grubbs, Procedures
    for detecting outlying observations in samples, Technometrics 1969): if their changes are normal and the change of
    this case too, it falls below the limit with a probability of `FALSE_ALARM_RATE`, divided by the number of cases.
    The means of the groups are compared in the same way, because many small drops of one patient also count.

    Parameters
    ----------
    changes
        Name of each case and its new minus old score, by group (patient, slide or video).
    margin
        A smaller drop never counts.
    """
    means = {group: [(group, float(np.mean([change for _, change in cases])))] for group, cases in changes.items()}
    has_several = any(len(cases) > 1 for cases in changes.values())
    rate = FALSE_ALARM_RATE / 2 if has_several else FALSE_ALARM_RATE
    found = [CaseRegression(*one, is_group=False) for one in _find_outliers(changes, margin, rate)]
    if has_several:
        several = {group for group, cases in changes.items() if len(cases) > 1}
        lost = [one for one in _find_outliers(means, margin, rate) if one[0] in several]
        found += [CaseRegression(*one, is_group=True) for one in lost]
    return sorted(found, key=lambda one: (one.is_group, one.change))


def _find_outliers(
    changes: Mapping[str, Sequence[tuple[str, float]]], margin: float, rate: float
) -> list[tuple[str, float]]:
    n_cases = sum(len(cases) for cases in changes.values())
    found = []
    for group, cases in changes.items():
        if min(change for _, change in cases) >= -margin:
            continue
        others = [change for other, its in changes.items() if other != group for _, change in its]
        lowest = -margin
        if len(changes) > MIN_OTHER_GROUPS:
            lowest = max(-MAX_DROP, min(-margin, _compute_limit(others, rate / n_cases)))
        found += [(name, change) for name, change in cases if change < lowest]
    return found


def _compute_limit(others: Sequence[float], rate: float) -> float:
    """Return the change that one more case falls below with this probability."""
    n = len(others)
    quantile = float(special.stdtrit(n - 1, rate))
    return float(np.mean(others) + quantile * np.std(others, ddof=1) * np.sqrt(1.0 + 1.0 / n))
