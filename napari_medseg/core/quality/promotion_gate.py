"""The promotion gate: compares a new version with the live one on hold-out cases that neither was trained on.

The result can be "cannot tell": with few patients, or if the change is smaller than its uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Protocol

from napari_medseg.core.quality.confidence import compute_change_interval, compute_min_pairs, estimate_required_pairs

DEFAULT_MARGIN = 0.02
CONFIDENCE = 0.90
"""Two-sided; so a version that is not better passes at most once in twenty times."""
MIN_GROUPS = compute_min_pairs(CONFIDENCE)
"""Minimum number of patients, slides or videos in the hold-out; with fewer, no difference is significant."""
MIN_GAIN = 0.002
"""A smaller gain does not justify that the labels of two versions differ."""


class Decision(StrEnum):
    """Result of the comparison on the hold-out."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"


class ComparedCase(Protocol):
    """Old and new score of one hold-out case."""

    @property
    def case(self) -> str:
        """Name of the case."""

    @property
    def old(self) -> float:
        """Score of the live version."""

    @property
    def new(self) -> float:
        """Score of the candidate."""

    @property
    def group(self) -> str:
        """Patient, slide or video; empty if each case is its own group."""

    @property
    def metric(self) -> str:
        """Name of the score: ``"Dice"``, or ``"AJI"`` for objects."""


@dataclass(frozen=True)
class Verdict:
    """The decision of the promotion gate.

    Parameters
    ----------
    decision
        Better, worse, or cannot tell.
    n_cases, n_groups
        Number of compared hold-out cases, and of their patients, slides or videos.
    mean_old, mean_new
        Mean score of both versions; every group has the same weight.
    worst_change, worst_case
        The most negative change of one case, and its name.
    ci
        90 % interval of the mean change over groups; `None` if there are too few groups.
    n_needed
        Estimated number of hold-out groups for a decision; 0 if there is one, or if more groups would not help.
    answer
        The decision and its reason, in a few words.
    figures
        The scores behind the decision, in one sentence.
    """

    decision: Decision
    n_cases: int
    n_groups: int
    mean_old: float
    mean_new: float
    worst_change: float
    worst_case: str
    ci: tuple[float, float] | None
    n_needed: int
    answer: str
    figures: str

    @property
    def text(self) -> str:
        """The answer and the scores."""
        return f"{self.answer}. {self.figures}"


def decide_promotion(
    rows: Sequence[ComparedCase], margin: float = DEFAULT_MARGIN, seed: int = 0, label_problem: str = ""
) -> Verdict:
    """Decide about a candidate from paired scores; the cases of one group count as one, because they are correlated.

    Worse: the mean decreases, or one case decreases by more than `margin`, also with few cases.
    Better: at least `MIN_GROUPS` groups, a mean gain of at least `MIN_GAIN`, and an interval above 0.

    Parameters
    ----------
    rows
        One per hold-out case.
    margin
        Maximum allowed decrease of a single case.
    seed
        Seed of the bootstrap.
    label_problem
        Why the reference labels are not reliable; then the result is never "better".
    """
    if not rows:
        answer = f"Cannot tell: no corrected case is in the hold-out, cases of {MIN_GROUPS} patients are needed"
        figures = "Nothing says whether the new version is better."
        return Verdict(Decision.CANNOT_TELL, 0, 0, 0.0, 0.0, 0.0, "", None, MIN_GROUPS, answer, figures)
    groups: dict[str, list[ComparedCase]] = {}
    for row in rows:
        groups.setdefault(row.group or row.case, []).append(row)
    changes = [fmean(row.new - row.old for row in group) for group in groups.values()]
    mean_old = fmean(fmean(row.old for row in group) for group in groups.values())
    mean_new = fmean(fmean(row.new for row in group) for group in groups.values())
    worst = min(rows, key=lambda row: row.new - row.old)
    ci = compute_change_interval(changes, CONFIDENCE, seed)
    decision, n_needed, answer = _apply_gate_rules(changes, ci, worst, margin)
    if label_problem and decision is Decision.BETTER:
        decision, answer = Decision.CANNOT_TELL, f"Cannot tell: {label_problem}"
    counted = f"{len(rows)} hold-out case{'s' * (len(rows) != 1)}"
    counted += f" of {_format_patient_count(len(groups))}" * (len(groups) != len(rows))
    interval = "" if ci is None else f" ({CONFIDENCE:.0%} interval {ci[0]:+.3f} to {ci[1]:+.3f})"
    figures = (
        f"Mean {worst.metric} {mean_old:.3f} -> {mean_new:.3f} on {counted}, "
        f"change {mean_new - mean_old:+.3f}{interval}, worst change {worst.new - worst.old:+.3f} ({worst.case})."
    )
    return Verdict(
        decision=decision,
        n_cases=len(rows),
        n_groups=len(groups),
        mean_old=mean_old,
        mean_new=mean_new,
        worst_change=worst.new - worst.old,
        worst_case=worst.case,
        ci=ci,
        n_needed=n_needed,
        answer=answer,
        figures=figures,
    )


def _apply_gate_rules(
    changes: Sequence[float], ci: tuple[float, float] | None, worst: ComparedCase, margin: float
) -> tuple[Decision, int, str]:
    mean = fmean(changes)
    if worst.new - worst.old < -margin:
        return Decision.WORSE, 0, f"Worse: a case loses more than {margin:g}"
    if mean < 0:
        return Decision.WORSE, 0, "Worse on average"
    if ci is None:
        there = f"there {'is' if len(changes) == 1 else 'are'} {len(changes)}"
        answer = f"Not enough hold-out cases to tell: {_format_patient_count(MIN_GROUPS)} are needed, {there}"
        return Decision.CANNOT_TELL, MIN_GROUPS, answer
    if mean < MIN_GAIN:
        return Decision.CANNOT_TELL, 0, f"No better: the gain is below {MIN_GAIN:g}"
    if ci[0] > 0:
        return Decision.BETTER, 0, "Better"
    needed = max(len(changes) + 1, estimate_required_pairs(changes, CONFIDENCE))
    answer = f"Not enough hold-out cases to tell so uneven a change: about {_format_patient_count(needed)} are needed"
    return Decision.CANNOT_TELL, needed, answer


def _format_patient_count(number: int) -> str:
    """Format a number of patients; slides and videos are also counted as patients."""
    return f"{number} patient{'s' * (number != 1)}"
