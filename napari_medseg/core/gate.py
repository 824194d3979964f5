"""Whether a new version may replace the old one: compared case by case on a hold-out that neither was trained on.

"It cannot be told" is an answer: with few cases, or where the change is smaller than its own uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from napari_medseg.core.metrics import bootstrap_interval

DEFAULT_MARGIN = 0.02
MIN_CASES = 3


class Decision(StrEnum):
    """What the hold-out says about the new version."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"


class ComparedCase(Protocol):
    """Old and new score of one hold-out case, as in `training.events.Compared`."""

    @property
    def case(self) -> str:
        """Name of the case."""

    @property
    def old(self) -> float:
        """Dice of the live version."""

    @property
    def new(self) -> float:
        """Dice of the candidate."""


@dataclass(frozen=True)
class Verdict:
    """The gate's answer.

    Parameters
    ----------
    decision
        Better, worse, or it cannot be told.
    n_cases
        Hold-out cases compared.
    mean_old, mean_new
        Mean Dice of both versions.
    worst_change, worst_case
        The most negative change of one case, and its name.
    ci
        95 % bootstrap interval of the mean change over cases.
    text
        One sentence for people.
    """

    decision: Decision
    n_cases: int
    mean_old: float
    mean_new: float
    worst_change: float
    worst_case: str
    ci: tuple[float, float]
    text: str


def judge(
    rows: Sequence[ComparedCase], margin: float = DEFAULT_MARGIN, min_cases: int = MIN_CASES, seed: int = 0
) -> Verdict:
    """Judge a candidate from paired scores.

    Worse: the mean falls, or one case falls by more than `margin` (also where cases are few: a loss seen is a loss).
    Better: at least `min_cases`, and the 95 % bootstrap interval of the mean change lies above 0.

    Parameters
    ----------
    rows
        One per hold-out case.
    margin
        Dice that a single case may lose.
    min_cases
        Fewer are not enough to call a version better.
    seed
        Of the bootstrap.
    """
    if not rows:
        text = "No corrected case is in the hold-out, so nothing tells whether the new version is better."
        return Verdict(Decision.CANNOT_TELL, 0, 0.0, 0.0, 0.0, "", (0.0, 0.0), text)
    changes = [row.new - row.old for row in rows]
    worst = min(range(len(rows)), key=changes.__getitem__)
    mean_old, mean_new = (sum(scores) / len(rows) for scores in ([r.old for r in rows], [r.new for r in rows]))
    ci = bootstrap_interval(changes, seed=seed)
    decision, reason = _decide(changes, ci, margin, min_cases)
    text = (
        f"Mean Dice {mean_old:.3f} -> {mean_new:.3f} on {len(rows)} hold-out case{'s' * (len(rows) != 1)}, "
        f"worst change {changes[worst]:+.3f} ({rows[worst].case}): {reason}."
    )
    return Verdict(decision, len(rows), mean_old, mean_new, changes[worst], rows[worst].case, ci, text)


def _decide(changes: Sequence[float], ci: tuple[float, float], margin: float, min_cases: int) -> tuple[Decision, str]:
    mean = sum(changes) / len(changes)
    if min(changes) < -margin:
        return Decision.WORSE, f"worse, as a case loses more than {margin:g}"
    if mean < 0:
        return Decision.WORSE, "worse on average"
    if len(changes) < min_cases:
        return Decision.CANNOT_TELL, f"not enough hold-out cases to tell, at least {min_cases} are needed"
    if ci[0] > 0:
        return Decision.BETTER, "better"
    return Decision.CANNOT_TELL, f"cannot tell, the change lies between {ci[0]:+.3f} and {ci[1]:+.3f}"
