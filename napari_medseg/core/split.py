"""Which patients, slides or videos are held out, and which validate: one policy for projects, folders and recipes.

A split is by group: all images of a patient, slide or video stand on one side. Groups are chosen by a hash of their
names, so that the choice is the same in each run, does not depend on the order of the files, and stays much the same
when groups are added. One group in `HOLD_OUT_ONE_GROUP_IN` judges a model and is never trained on; of the others one in
`VALIDATE_ONE_GROUP_IN` chooses the best epoch.
"""

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

HOLD_OUT_ONE_GROUP_IN = 5
"""The usual share of a test set: enough groups to judge by, and four fifths are left to learn from."""
HOLD_OUT_ONE_GROUP_IN_AT_FIRST = 3
"""Until there are as many as a comparison needs: with one in five, that would take 25 groups."""
VALIDATE_ONE_GROUP_IN = 5
"""As for the hold-out."""
MIN_GROUPS_TO_HOLD_OUT = 2
"""A single group is learnt from."""
MIN_GROUPS_TO_VALIDATE_FIRST_MODEL = 5
"""A first model learns all that it knows from these groups: a smaller set cannot spare any."""
MIN_GROUPS_TO_VALIDATE_RETRAIN = 3
"""A version that is retrained knows the task already and must not become worse: a third of few groups is well spent."""

NO_SIDES: Mapping[str, bool] = MappingProxyType({})


def choose_hold_out_groups(
    groups: Iterable[str], sides: Mapping[str, bool] = NO_SIDES, n_needed: int = 0
) -> tuple[str, ...]:
    """Choose which of the groups without a side are held out; at least one group is learnt from.

    A run on folders knows all its groups at once, and nothing waits for its result. A project meets its groups one
    after the other, each has its side before anyone corrects its labels, and a new version goes live only after a
    comparison on `n_needed` groups: so a project passes `sides` and `n_needed`.

    Parameters
    ----------
    groups
        Names, in any order, also repeated. Those in `sides` keep their side.
    sides
        Groups that have a side for good: True where it is the hold-out.
    n_needed
        Held-out groups that a comparison needs; until there are so many, one in `HOLD_OUT_ONE_GROUP_IN_AT_FIRST` is
        held out.

    Returns
    -------
    tuple of str
        New groups of the hold-out, in the order of their hashes.
    """
    new = sort_by_hash(set(groups) - sides.keys())
    n_groups = len(sides) + len(new)
    if n_groups < MIN_GROUPS_TO_HOLD_OUT:
        return ()
    at_first = min(n_needed, n_groups // HOLD_OUT_ONE_GROUP_IN_AT_FIRST)
    n_wanted = max(1, at_first, n_groups // HOLD_OUT_ONE_GROUP_IN) - sum(sides.values())
    return tuple(new[: max(0, n_wanted)])


def choose_validation_groups(
    groups: Iterable[str], min_groups: int, one_in: int = VALIDATE_ONE_GROUP_IN
) -> tuple[str, ...]:
    """Choose which of the groups that are not held out choose the best epoch, and are not trained on.

    Parameters
    ----------
    groups
        Names of those that are not held out, in any order, also repeated.
    min_groups
        With fewer groups, none validates: `MIN_GROUPS_TO_VALIDATE_FIRST_MODEL` where a model learns from these images
        alone, `MIN_GROUPS_TO_VALIDATE_RETRAIN` where it is retrained.
    one_in
        Share of the groups, rounded down, but at least one group.

    Returns
    -------
    tuple of str
        In the order of their hashes.
    """
    ranked = sort_by_hash(groups)
    return tuple(ranked[: max(1, len(ranked) // one_in)]) if len(ranked) >= min_groups else ()


def sort_by_hash(groups: Iterable[str]) -> list[str]:
    """Return each group once, sorted by the SHA-256 of its name."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest())
