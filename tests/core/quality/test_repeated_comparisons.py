"""Which earlier comparisons count."""

from napari_medseg.core.quality.repeated_comparisons import Comparison, count_earlier_comparisons

FIVE = frozenset("abcde")


def earlier(groups: str = "abcde", baseline: str = "v1", *, was_better: bool = False) -> Comparison:
    return Comparison(frozenset(groups), baseline, was_better)


def test_every_comparison_on_these_groups_counts() -> None:
    assert count_earlier_comparisons([], FIVE, "v1") == 0
    assert count_earlier_comparisons([earlier(), earlier(), earlier()], FIVE, "v1") == 3


def test_a_version_promoted_for_another_reason_forgets_nothing() -> None:
    assert count_earlier_comparisons([earlier(), earlier()], FIVE, "v2") == 2


def test_a_better_version_starts_anew_unless_it_was_rolled_back() -> None:
    history = [earlier(), earlier(was_better=True), earlier(baseline="v2")]
    assert count_earlier_comparisons(history, FIVE, "v2") == 1
    assert count_earlier_comparisons(history, FIVE, "v1") == 3


def test_a_hold_out_that_has_more_than_doubled_is_a_new_one() -> None:
    assert count_earlier_comparisons([earlier()], frozenset("abcdefghij"), "v1") == 1
    assert count_earlier_comparisons([earlier()], frozenset("abcdefghijk"), "v1") == 0
    assert count_earlier_comparisons([earlier("abcdefghij")], FIVE, "v1") == 1
