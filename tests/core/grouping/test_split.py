"""Which groups are held out and which validate: by their names alone, and never against a side that is fixed."""

import random

import pytest

from napari_medseg.core.grouping.split import (
    MIN_GROUPS_TO_VALIDATE_FIRST_MODEL,
    MIN_GROUPS_TO_VALIDATE_RETRAIN,
    choose_hold_out_groups,
    choose_validation_groups,
)

GROUPS = [f"p{number}" for number in range(40)]


@pytest.mark.parametrize(("n_groups", "n_held_out"), [(0, 0), (1, 0), (2, 1), (9, 1), (10, 2), (40, 8)])
def test_one_group_in_five_is_held_out_but_one_at_least(n_groups: int, n_held_out: int) -> None:
    assert len(choose_hold_out_groups(GROUPS[:n_groups])) == n_held_out


@pytest.mark.parametrize(("n_groups", "n_held_out"), [(2, 1), (5, 1), (6, 2), (15, 5), (29, 5), (30, 6)])
def test_what_a_comparison_needs_is_held_out_sooner(n_groups: int, n_held_out: int) -> None:
    assert len(choose_hold_out_groups(GROUPS[:n_groups], n_needed=5)) == n_held_out


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
    chosen = choose_hold_out_groups(GROUPS[:16], sides, n_needed=5)
    assert not set(chosen) & sides.keys()
    assert len(chosen) == 5 - 2, "18 groups, of which two are held out already"
    assert choose_hold_out_groups(["new"], {"a": True}) == (), "one group is learnt from"
    assert choose_hold_out_groups(["new"], {"a": False}) == ("new",)
    assert choose_hold_out_groups(["a"], {"a": False}) == ()


def test_a_retrained_version_validates_on_fewer_groups_than_a_first_model_does() -> None:
    first, retrain = MIN_GROUPS_TO_VALIDATE_FIRST_MODEL, MIN_GROUPS_TO_VALIDATE_RETRAIN
    assert [len(choose_validation_groups(GROUPS[:n], first)) for n in (4, 5, 10, 40)] == [0, 1, 2, 8]
    assert [len(choose_validation_groups(GROUPS[:n], retrain)) for n in (2, 3, 10)] == [0, 1, 2]


def test_a_recipe_may_ask_for_another_share() -> None:
    assert len(choose_validation_groups(GROUPS, 1, one_in=20)) == 2
    assert len(choose_validation_groups(GROUPS[:1], 1, one_in=20)) == 1
    assert choose_validation_groups([], 1, one_in=20) == ()
