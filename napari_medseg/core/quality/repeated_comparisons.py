"""How many earlier comparisons a hold-out has served: each was a try of chance, so the next one must be stricter."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

MIN_SHARED = 0.5
"""An earlier comparison counts while at least this share of today's patients was in it."""


@dataclass(frozen=True)
class Comparison:
    """An earlier comparison of a task.

    Parameters
    ----------
    groups
        The patients, slides or videos that were compared.
    baseline
        The version that the candidate was compared with; empty for empty labels.
    was_better
        Whether its candidate was called better and went live.
    """

    groups: frozenset[str]
    baseline: str
    was_better: bool


def count_earlier_comparisons(earlier: Sequence[Comparison], groups: Set[str], baseline: str) -> int:
    """Return how many of the earlier comparisons, oldest first, count for one on these groups with this baseline.

    Those before the last version that was found better do not count: that version is a new baseline, with tries of its
    own. They do if it was rolled back, because then their baseline is today's again. A comparison does not count if
    more than half of today's groups were not in it: a hold-out that has doubled is a new one.
    """
    since = max((number + 1 for number, one in enumerate(earlier) if one.was_better), default=0)
    return sum(
        (number >= since or one.baseline == baseline) and len(one.groups & groups) >= MIN_SHARED * len(groups)
        for number, one in enumerate(earlier)
    )
