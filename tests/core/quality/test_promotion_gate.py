"""What the hold-out says: better, worse, or that it cannot say."""

from dataclasses import dataclass

import numpy as np
import pytest

from napari_medseg.core.quality.confidence import compute_gain_p_value
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS, Decision, compute_allowed_error, decide_promotion


@dataclass(frozen=True)
class Pair:
    case: str
    old: float
    new: float
    group: str = ""
    metric: str = "Dice"


def pairs(*changes: float) -> list[Pair]:
    return [Pair(f"case {number}", 0.9, 0.9 + change) for number, change in enumerate(changes)]


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ((0.05, 0.04, 0.06, 0.05, 0.03), Decision.BETTER),
        ((0.05, 0.04, 0.06, -0.005, 0.05, 0.04, 0.06), Decision.BETTER),
        ((0.05,) * 20, Decision.BETTER),
        ((0.05, 0.04, 0.06, -0.01, 0.05), Decision.CANNOT_TELL),
        ((0.09, 0.09, 0.09, 0.09, 0.09, 0.09, -0.03), Decision.WORSE),
        ((0.001, -0.01, -0.005, -0.002), Decision.WORSE),
        ((0.05, 0.04, 0.06, 0.05), Decision.CANNOT_TELL),
        ((-0.03,), Decision.WORSE),
        ((), Decision.CANNOT_TELL),
        ((0.0,) * 8, Decision.CANNOT_TELL),
        ((0.001,) * 8, Decision.CANNOT_TELL),
        ((0.02, -0.019, 0.001, -0.001, 0.004), Decision.CANNOT_TELL),
    ],
)
def test_decisions(changes: tuple[float, ...], decision: Decision) -> None:
    assert decide_promotion(pairs(*changes)).decision is decision


def test_verdict_names_the_worst_case_the_means_and_the_interval() -> None:
    changes = (0.05, -0.015, 0.06, 0.05, 0.05, 0.055, 0.05, 0.045)
    verdict = decide_promotion(pairs(*changes))
    assert verdict.worst_case == "case 1"
    assert verdict.worst_change == pytest.approx(-0.015)
    assert verdict.mean_old == pytest.approx(0.9)
    assert verdict.mean_new == pytest.approx(0.9 + np.mean(changes))
    assert verdict.ci is not None
    assert verdict.ci[0] < np.mean(changes) < verdict.ci[1]
    assert verdict.text.startswith("Better. Mean Dice 0.900 -> 0.943 on 8 hold-out cases, change +0.043 (90% interval")
    assert "worst change -0.015 (case 1)" in verdict.text
    assert decide_promotion(pairs(*changes)) == verdict, "same cases, same verdict"


def test_margin_decides_how_much_one_case_may_lose() -> None:
    changes = pairs(0.05, 0.05, 0.05, 0.05, 0.05, 0.05, -0.03)
    assert decide_promotion(changes).decision is Decision.WORSE
    assert "loses more than 0.02" in decide_promotion(changes).answer
    assert decide_promotion(changes, margin=0.05).decision is not Decision.WORSE


def test_too_few_patients_say_how_many_are_needed() -> None:
    verdict = decide_promotion(pairs(0.1))
    assert verdict.answer == "Not enough hold-out cases to tell: 5 patients are needed, there is 1"
    assert (verdict.n_needed, verdict.ci) == (MIN_GROUPS, None)
    assert "1 hold-out case," in verdict.text
    assert decide_promotion([]).n_needed == MIN_GROUPS


def test_a_change_that_differs_from_case_to_case_says_how_many_would_do() -> None:
    verdict = decide_promotion(pairs(0.06, -0.015, 0.05, -0.01, 0.04, -0.012))
    assert verdict.decision is Decision.CANNOT_TELL
    assert 6 < verdict.n_needed < 40
    assert f"about {verdict.n_needed} patients are needed" in verdict.answer


@pytest.mark.parametrize("noun", ["slide", "video", "patient"])
def test_the_gate_says_what_the_groups_are(noun: str) -> None:
    cases = [Pair(f"case {n}", 0.8, 0.82 + n / 50, group=f"source/{noun} {n % 2} #{n % 2:016x}") for n in range(4)]
    assert decide_promotion(cases).text.startswith(
        f"Not enough hold-out cases to tell: 5 {noun}s are needed, there are 2"
    )
    assert f"on 4 hold-out cases of 2 {noun}s" in decide_promotion(cases).text
    assert f"cases of 5 {noun}s are needed" in decide_promotion([], noun=noun).answer
    uneven = [Pair(f"case {n}", 0.5, 0.5 + 0.3 * (n % 2), group=f"{noun} {n} #{n:016x}") for n in range(5)]
    assert f" {noun}s are needed" in decide_promotion(uneven).answer


def test_slices_of_one_patient_count_as_one() -> None:
    slices = [Pair(f"slice {n}", 0.9, 0.95, group=f"patient {n % 2}") for n in range(12)]
    verdict = decide_promotion(slices)
    assert verdict.decision is Decision.CANNOT_TELL, "twelve slices of two patients prove nothing of a third"
    assert (verdict.n_cases, verdict.n_groups) == (12, 2)
    assert "12 hold-out cases of 2 patients" in verdict.text
    many = [Pair("a", 0.5, 0.6, "one"), Pair("b", 0.5, 0.8, "one"), Pair("c", 0.5, 0.5, "two")]
    assert decide_promotion(many).mean_new == pytest.approx((0.7 + 0.5) / 2)


def test_objects_are_named_by_their_figure() -> None:
    rows = [Pair(f"tile {n}", 0.5, 0.56, metric="AJI") for n in range(6)]
    assert "Mean AJI 0.500 -> 0.560" in decide_promotion(rows).text


NULL_CHANGES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape),
    "rare large losses": lambda rng, shape: 1.0 - rng.exponential(size=shape),
    "rare large gains": lambda rng, shape: rng.exponential(size=shape) - 1.0,
    "mostly zero": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.3),
}


@pytest.mark.parametrize("n_groups", [5, 7, 10, 13, 20, 30, 50])
@pytest.mark.parametrize("name", NULL_CHANGES)
def test_ten_comparisons_without_a_gain_call_one_version_better_once_in_twenty_times(name: str, n_groups: int) -> None:
    """The error of all comparisons, not of each; the rules for single cases would only make it smaller."""
    chances = compute_gain_p_value(NULL_CHANGES[name](np.random.default_rng(n_groups), (20_000, n_groups)))
    passed = [float(np.mean(chances <= compute_allowed_error(n_earlier))) for n_earlier in range(10)]
    assert 1.0 - np.prod(1.0 - np.array(passed)) <= 0.053
    assert passed[0] <= 0.053


def test_the_whole_gate_passes_no_ten_versions_without_a_gain() -> None:
    rng = np.random.default_rng(3)
    n_trials, wrong = 100, 0
    for _ in range(n_trials):
        wrong += any(
            decide_promotion(pairs(*rng.normal(0.0, 0.03, 13)), n_earlier=number).decision is Decision.BETTER
            for number in range(10)
        )
    assert wrong / n_trials <= 0.08


def test_allowed_errors_add_up_to_one_in_twenty() -> None:
    errors = [compute_allowed_error(n_earlier) for n_earlier in range(100_000)]
    assert sum(errors) == pytest.approx(0.05, abs=1e-6)
    assert errors == sorted(errors, reverse=True)


def test_a_real_gain_is_found_despite_noise() -> None:
    """30 patients, true gain 0.05, noise 0.05: single cases fall by chance, and that is no regression."""
    rng = np.random.default_rng(1)
    trials = [rng.normal(0.05, 0.05, 30) for _ in range(150)]
    assert np.mean([min(trial) < -0.02 for trial in trials]) > 0.8
    assert np.mean([decide_promotion(pairs(*trial)).decision is Decision.BETTER for trial in trials]) > 0.85
    fourth = [decide_promotion(pairs(*trial), n_earlier=3).decision is Decision.BETTER for trial in trials]
    assert np.mean(fourth) > 0.7


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("n_groups", [5, 13, 30, 50])
def test_one_patient_destroyed_is_refused(n_groups: int, noise: float) -> None:
    rng = np.random.default_rng(n_groups)
    for _ in range(10):
        verdict = decide_promotion(pairs(*rng.normal(0.05, noise, n_groups - 1), -0.3))
        assert verdict.decision is Decision.WORSE


def test_a_case_lost_in_noise_is_counted_and_a_regression_is_named() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0.05, 0.05, 30).clip(min=-0.05)
    noise[7] = -0.04
    verdict = decide_promotion(pairs(*noise))
    assert verdict.decision is Decision.BETTER
    assert "more than 0.02, as noise alone can do." in verdict.text
    noise[7] = -0.3
    verdict = decide_promotion(pairs(*noise))
    assert verdict.answer.startswith("Worse: case 7 loses more than 0.02, and the differences between the other cases")


def test_the_fourth_comparison_needs_more_confidence_and_says_so() -> None:
    changes = pairs(0.05, 0.04, 0.07, 0.03, 0.06, 0.04, 0.05)
    first, fourth = decide_promotion(changes), decide_promotion(changes, n_earlier=3)
    assert (first.decision, fourth.decision) == (Decision.BETTER, Decision.CANNOT_TELL)
    assert (first.n_earlier, fourth.n_earlier) == (0, 3)
    assert first.ci == fourth.ci
    assert "1st comparison on this hold-out: 96.8 % confidence in a gain is needed" in first.text
    assert "4th comparison on this hold-out: 99.84 % confidence in a gain is needed" in fourth.text
    assert first.confidence_reached == fourth.confidence_reached >= first.confidence_needed
    assert "in the 4th comparison on them: about" in fourth.answer
    assert fourth.n_needed > 7


@pytest.mark.parametrize(("n_earlier", "ordinal"), [(1, "2nd"), (2, "3rd"), (10, "11th"), (12, "13th"), (20, "21st")])
def test_comparisons_are_counted_in_english(n_earlier: int, ordinal: str) -> None:
    assert f" {ordinal} comparison" in decide_promotion(pairs(*(0.05,) * 5), n_earlier=n_earlier).text


def test_labels_that_are_not_believed_call_nothing_better() -> None:
    verdict = decide_promotion(pairs(*(0.05,) * 8), label_problem="labels seem to be mixed up")
    assert verdict.decision is Decision.CANNOT_TELL
    assert verdict.answer == "Cannot tell: labels seem to be mixed up"
    assert decide_promotion(pairs(*(-0.05,) * 8), label_problem="labels seem to be mixed up").decision is Decision.WORSE
