"""Choose the groups for hold-out and validation; one rule for projects, folders and recipes.

A split is by group: all images of a patient, slide or video are on the same side. Groups are chosen by a hash of their
names. So the choice is the same in each run, does not depend on the file order, and changes little when groups are
added. One group in `HOLD_OUT_ONE_GROUP_IN` is held out: it evaluates a model and is never trained on. Of the others,
one in `VALIDATE_ONE_GROUP_IN` is used for validation, which selects the best epoch.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping

HOLD_OUT_ONE_GROUP_IN = 5
"""The usual share of a test set: enough groups for an evaluation, and four fifths are left for training."""
HOLD_OUT_ONE_GROUP_IN_AT_FIRST = 3
"""Used until the hold-out has enough groups for a comparison: with one in five, that would take 25 groups."""
VALIDATE_ONE_GROUP_IN = 5
"""The same share as for the hold-out."""
MIN_GROUPS_TO_HOLD_OUT = 2
"""A single group is used for training."""
MIN_GROUPS_TO_VALIDATE_FIRST_MODEL = 5
"""A first model is trained on these groups alone: with fewer groups, all of them are needed for training."""
MIN_GROUPS_TO_VALIDATE_SNAPSHOT = 10
"""A snapshot that names no validation images: with fewer groups all are trained on, and they validate, too."""
MIN_GROUPS_TO_VALIDATE_RETRAIN = 3
"""A retrained version already knows the task and must not become worse, so one of three groups is used to validate."""


def choose_hold_out_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """Choose the groups that a run on folders holds out, in the order of their hashes; repetitions are allowed."""
    return tuple(group for group, held_out in choose_sides({}, dict.fromkeys(groups, False)).items() if held_out)


def choose_sides(
    fixed: Mapping[str, bool],
    free: Mapping[str, bool],
    one_in: int | None = None,
    last: Collection[str] = (),
    n_needed: int = 0,
) -> dict[str, bool]:
    """Choose which groups are held out, changing as few as possible; at least one group is used for training.

    A run on folders knows all its groups at once. In a project, groups are added one after the other, each gets its
    side before its labels are corrected, and a new version goes live only after a comparison on `n_needed` groups.

    Parameters
    ----------
    fixed
        Groups that keep their side: True for the hold-out. They count.
    free
        The other groups with their present side, False for a new one. No name is in both.
    one_in
        One group in so many is held out, 0 for none; `None` if nobody chose: one in `HOLD_OUT_ONE_GROUP_IN`, and one in
        `HOLD_OUT_ONE_GROUP_IN_AT_FIRST` until `n_needed` groups are held out.
    last
        Free groups that are held out only if no others are left, as their work is lost for training.
    n_needed
        Number of held-out groups that a comparison needs.

    Returns
    -------
    dict
        The side of each free group, in the order in which they are held out: by present side, then by hash.
    """
    ranked = sorted(sort_by_hash(free), key=lambda group: (not free[group], group in last))
    n_free = _count_wanted(len(fixed) + len(free), one_in, n_needed) - sum(fixed.values())
    return {group: place < n_free for place, group in enumerate(ranked)}


def choose_validation_groups(
    groups: Iterable[str], min_groups: int, one_in: int = VALIDATE_ONE_GROUP_IN
) -> tuple[str, ...]:
    """Choose the validation groups among those that are not held out; they are not trained on.

    Parameters
    ----------
    groups
        Names of the groups that are not held out, in any order; repetitions are allowed.
    min_groups
        With fewer groups there is no validation: `MIN_GROUPS_TO_VALIDATE_FIRST_MODEL` for a first model,
        `MIN_GROUPS_TO_VALIDATE_RETRAIN` for a retrained one.
    one_in
        One in so many groups validates, rounded down, but at least one group.

    Returns
    -------
    tuple of str
        Names in the order of their hashes.
    """
    ranked = sort_by_hash(groups)
    return tuple(ranked[: max(1, len(ranked) // one_in)]) if len(ranked) >= min_groups else ()


def _count_wanted(n_groups: int, one_in: int | None, n_needed: int) -> int:
    if n_groups < MIN_GROUPS_TO_HOLD_OUT or one_in == 0:
        return 0
    if one_in is not None:
        return max(1, n_groups // one_in)
    return max(1, min(n_needed, n_groups // HOLD_OUT_ONE_GROUP_IN_AT_FIRST), n_groups // HOLD_OUT_ONE_GROUP_IN)


def sort_by_hash(groups: Iterable[str]) -> list[str]:
    """Return each group once, sorted by the SHA-256 of its name."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest())
