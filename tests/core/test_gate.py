"""What the hold-out says: better, worse, or that it cannot say."""

from dataclasses import dataclass

import pytest

from napari_medseg.core.gate import Decision, judge


@dataclass(frozen=True)
class Pair:
    case: str
    old: float
    new: float


def pairs(*changes: float) -> list[Pair]:
    return [Pair(f"case {number}", 0.9, 0.9 + change) for number, change in enumerate(changes)]


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ((0.05, 0.04, 0.06), Decision.BETTER),
        ((0.05, 0.04, 0.06, -0.01, 0.05), Decision.BETTER),
        ((0.09, 0.09, 0.09, 0.09, -0.03), Decision.WORSE),
        ((0.001, -0.01, -0.005, -0.002), Decision.WORSE),
        ((0.05, 0.04), Decision.CANNOT_TELL),
        ((-0.03,), Decision.WORSE),
        ((), Decision.CANNOT_TELL),
        ((0.0, 0.0, 0.0, 0.0), Decision.CANNOT_TELL),
        ((0.02, -0.019, 0.001, -0.001, 0.002), Decision.CANNOT_TELL),
    ],
)
def test_decisions(changes: tuple[float, ...], decision: Decision) -> None:
    assert judge(pairs(*changes)).decision is decision


def test_verdict_names_the_worst_case_and_the_means() -> None:
    verdict = judge(pairs(0.05, -0.015, 0.06, 0.05))
    assert verdict.worst_case == "case 1"
    assert verdict.worst_change == pytest.approx(-0.015)
    assert verdict.mean_old == pytest.approx(0.9)
    assert verdict.mean_new == pytest.approx(0.93625)
    assert verdict.ci[0] < 0.03625 < verdict.ci[1]
    assert "0.900 -> 0.936 on 4 hold-out cases" in verdict.text
    assert judge(pairs(0.05, -0.015, 0.06, 0.05)) == verdict, "same cases, same verdict"


def test_margin_decides_how_much_one_case_may_lose() -> None:
    changes = pairs(0.05, 0.05, 0.05, -0.03)
    assert judge(changes).decision is Decision.WORSE
    assert "loses more than 0.02" in judge(changes).text
    assert judge(changes, margin=0.05).decision is not Decision.WORSE


def test_too_few_cases_say_how_many_are_needed() -> None:
    assert "at least 3" in judge(pairs(0.1)).text
    assert "1 hold-out case," in judge(pairs(0.1)).text
