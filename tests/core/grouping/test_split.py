"""Which groups are held out and which validate: by their names alone, and never against a side that is fixed."""

import random

import pytest

from napari_medseg.core.grouping.split import (
    MIN_GROUPS_TO_VALIDATE_FIRST_MODEL,
    MIN_GROUPS_TO_VALIDATE_RETRAIN,
    choose_hold_out_groups,
    choose_sides,
    choose_validation_groups,
)

GROUPS = [f"p{number}" for number in range(40)]


@pytest.mark.parametrize(("n_groups", "n_held_out"), [(0, 0), (1, 0), (2, 1), (9, 1), (10, 2), (40, 8)])
def test_one_group_in_five_is_held_out_but_one_at_least(n_groups: int, n_held_out: int) -> None:
    assert len(choose_hold_out_groups(GROUPS[:n_groups])) == n_held_out


@pytest.mark.parametrize(("n_groups", "n_held_out"), [(2, 1), (5, 1), (6, 2), (15, 5), (29, 5), (30, 6)])
def test_what_a_comparison_needs_is_held_out_sooner(n_groups: int, n_held_out: int) -> None:
    assert sum(choose_sides({}, dict.fromkeys(GROUPS[:n_groups], False), n_needed=5).values()) == n_held_out


def test_the_choice_does_not_depend_on_order_or_repetition() -> None:
    shuffled = random.Random(0).sample(GROUPS * 3, k=3 * len(GROUPS))
    assert choose_hold_out_groups(shuffled) == choose_hold_out_groups(GROUPS)
    assert choose_validation_groups(shuffled, 5) == choose_validation_groups(GROUPS, 5)
    assert choose_hold_out_groups(["a", "a"]) == ()


def test_the_choice_stays_much_the_same_as_groups_come() -> None:
    before, after = (set(choose_hold_out_groups(GROUPS[:n])) for n in (35, 40))
    assert len(before & after) >= 5


def test_sides_that_are_fixed_are_kept_and_count() -> None:
    sides = {"old a": True, "old b": False, "p0": True, "p1": False}
    chosen = choose_sides(sides, dict.fromkeys(GROUPS[2:16], False), n_needed=5)
    assert list(chosen.values()) == [True] * (5 - 2) + [False] * 11, "18 groups, of which two are held out already"
    assert choose_sides({"a": True}, {"new": False}) == {"new": False}, "one group is learnt from"
    assert choose_sides({"a": False}, {"new": False}) == {"new": True}


@pytest.mark.parametrize(("one_in", "n_held_out"), [(0, 0), (10, 1), (3, 3), (2, 5)])
def test_a_chosen_share_changes_few_groups_and_those_with_work_last(one_in: int, n_held_out: int) -> None:
    free = {group: place < 2 for place, group in enumerate(GROUPS[:10])}
    chosen = choose_sides({}, free, one_in, last=GROUPS[2:6], n_needed=5)
    held = {group for group, held_out in chosen.items() if held_out}
    assert len(held) == n_held_out
    assert held <= {"p0", "p1"} or held >= {"p0", "p1"}
    assert not held & set(GROUPS[2:6])


def test_a_retrained_version_validates_on_fewer_groups_than_a_first_model_does() -> None:
    first, retrain = MIN_GROUPS_TO_VALIDATE_FIRST_MODEL, MIN_GROUPS_TO_VALIDATE_RETRAIN
    assert [len(choose_validation_groups(GROUPS[:n], first)) for n in (4, 5, 10, 40)] == [0, 1, 2, 8]
    assert [len(choose_validation_groups(GROUPS[:n], retrain)) for n in (2, 3, 10)] == [0, 1, 2]


def test_a_recipe_may_ask_for_another_share() -> None:
    assert len(choose_validation_groups(GROUPS, 1, one_in=20)) == 2
    assert len(choose_validation_groups(GROUPS[:1], 1, one_in=20)) == 1
    assert choose_validation_groups([], 1, one_in=20) == ()
