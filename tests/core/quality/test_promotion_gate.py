"""What the hold-out says: better, worse, or that it cannot say."""

from dataclasses import dataclass

import numpy as np
import pytest

from napari_medseg.core.quality.promotion_gate import MIN_GROUPS, Decision, decide_promotion


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


@pytest.mark.parametrize("n_groups", [5, 8, 20])
def test_a_version_that_is_no_better_passes_once_in_twenty_times_at_most(n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    n_trials = 600
    passed = sum(
        decide_promotion(pairs(*rng.normal(0, 0.01, n_groups)), margin=1.0).decision is Decision.BETTER
        for _ in range(n_trials)
    )
    assert passed / n_trials < 0.08


def test_labels_that_are_not_believed_call_nothing_better() -> None:
    verdict = decide_promotion(pairs(*(0.05,) * 8), label_problem="labels seem to be mixed up")
    assert verdict.decision is Decision.CANNOT_TELL
    assert verdict.answer == "Cannot tell: labels seem to be mixed up"
    assert decide_promotion(pairs(*(-0.05,) * 8), label_problem="labels seem to be mixed up").decision is Decision.WORSE
