"""How many cases are predicted ahead: by what a prediction costs, and by what a person needs meanwhile."""

from dataclasses import dataclass, replace

WORK_AHEAD_S = 1800.0
"""Half an hour of a person's work is always predicted, also if the model is slower than the person."""
COMPUTING_AHEAD_S = 600.0
"""Ten minutes of computing are spent on cases ahead if predictions are quick: the more are predicted, the better is the
order, and a new model predicts them all again."""
MIN_AHEAD, MAX_AHEAD = 3, 500
CACHE_SHARE = 0.5
"""Share of the cache for the cases ahead; the rest is for cases that a person returns to."""
DEFAULT_CASE_S, DEFAULT_PREDICTION_S = 60.0, 2.0
_NEW_WEIGHT = 0.3


@dataclass(frozen=True)
class PredictionCost:
    """What a prediction costs: seconds, reading included, and bytes in the cache; 0 before the first one."""

    seconds: float = 0.0
    n_bytes: float = 0.0

    def add(self, seconds: float, n_bytes: int) -> "PredictionCost":
        """Return the cost with one more measurement; the newest ones count most."""
        if not self.seconds:
            return PredictionCost(seconds, n_bytes)
        weights = 1 - _NEW_WEIGHT, _NEW_WEIGHT
        mean = weights[0] * self.seconds + weights[1] * seconds
        return replace(self, seconds=mean, n_bytes=weights[0] * self.n_bytes + weights[1] * n_bytes)


def choose_number_ahead(cost: PredictionCost, case_seconds: float | None, cache_bytes: int) -> int:
    """Return how many undecided cases should be predicted ahead of the open one.

    Parameters
    ----------
    cost
        Measured cost of a prediction.
    case_seconds
        Seconds that a person spends on a case; `None` if not known yet.
    cache_bytes
        Bytes that the probabilities of all predictions may take: those ahead must not push each other out.
    """
    for_person = WORK_AHEAD_S / (case_seconds or DEFAULT_CASE_S)
    for_order = COMPUTING_AHEAD_S / (cost.seconds or DEFAULT_PREDICTION_S)
    wanted = max(for_person, for_order, MIN_AHEAD)
    if cost.n_bytes:
        wanted = min(wanted, CACHE_SHARE * cache_bytes / cost.n_bytes)
    return int(min(max(wanted, 1), MAX_AHEAD))
