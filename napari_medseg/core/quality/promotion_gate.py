"""The promotion gate: compares a new version with the live one on hold-out cases that neither was trained on.

The result can be "cannot tell": with few patients, or if the change is smaller than its uncertainty. Every comparison
on the same hold-out makes the next one stricter, because chance has had more tries.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Protocol

from napari_medseg.core.grouping.keyed_groups import count_groups, find_group_noun, get_group_label
from napari_medseg.core.quality.case_regressions import CaseRegression, find_regressions
from napari_medseg.core.quality.confidence import (
    compute_change_interval,
    compute_gain_p_value,
    compute_min_pairs,
    estimate_required_pairs,
)

DEFAULT_MARGIN = 0.02
CONFIDENCE = 0.90
"""Of the interval that is shown; two-sided."""
MIN_GROUPS = compute_min_pairs(CONFIDENCE)
"""Minimum number of patients, slides or videos in the hold-out; with fewer, no difference is significant."""
MIN_GAIN = 0.002
"""A smaller gain does not justify that the labels of two versions differ."""
MAX_ERROR = 0.05
"""How often any of all comparisons on one hold-out may call a version better that is not."""
FIRST_ERROR = 1 / 32
"""The part of `MAX_ERROR` for the first comparison: by chance, five of five patients gain that often."""

MAX_DIGITS = 3
"""Of a confidence in per cent: more are not worth reading."""


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
        The scores behind the decision, in a few sentences.
    n_earlier
        Number of earlier comparisons on this hold-out.
    confidence_needed, confidence_reached
        One-sided confidence in a gain that this comparison needs, and that it reaches; 0 if there are too few groups.
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
    n_earlier: int = 0
    confidence_needed: float = 1.0 - FIRST_ERROR
    confidence_reached: float = 0.0

    @property
    def headline(self) -> str:
        """The decision and both scores in one line, such as ``No better: 0.995 -> 0.995``."""
        is_known = self.n_groups >= MIN_GROUPS
        word = {Decision.BETTER: "Better", Decision.WORSE: "Worse"}.get(
            self.decision, "No better" if is_known and not self.n_needed else "Cannot tell"
        )
        return f"{word}: {self.mean_old:.3f} -> {self.mean_new:.3f}" if self.n_cases else word

    @property
    def text(self) -> str:
        """The answer and the scores."""
        return f"{self.answer}. {self.figures}"


def compute_allowed_error(n_earlier: int) -> float:
    """Return how often this comparison may call a version better by chance, after earlier ones on the same hold-out.

    The sum over all comparisons, however many, is `MAX_ERROR` (alpha spending: Lan and DeMets, Discrete sequential
    boundaries for clinical trials, Biometrika 1983). The first one gets `FIRST_ERROR`, the k-th ``1 / (k (k - 1))`` of
    the rest.
    """
    number = n_earlier + 1
    return FIRST_ERROR if number == 1 else (MAX_ERROR - FIRST_ERROR) / (number * (number - 1))


def decide_promotion(
    rows: Sequence[ComparedCase],
    margin: float = DEFAULT_MARGIN,
    label_problem: str = "",
    n_earlier: int = 0,
    noun: str = "",
) -> Verdict:
    """Decide about a candidate from paired scores; the cases of one group count as one, because they are correlated.

    Worse: the mean decreases, or one case or group loses more than `margin` and more than noise (`case_regressions`).
    Better: `MIN_GROUPS` groups, a mean gain of `MIN_GAIN`, and confidence enough for the comparisons on this hold-out.

    Parameters
    ----------
    rows
        One per hold-out case.
    margin
        A drop of a single case that is always allowed.
    label_problem
        Why the reference labels are not reliable; then the result is never "better".
    n_earlier
        Number of earlier comparisons on this hold-out (see `repeated_comparisons`).
    noun
        What the groups are: patient, slide or video; empty if their names say so.
    """
    noun = noun or find_group_noun(row.group for row in rows)
    needed = 1.0 - compute_allowed_error(n_earlier)
    if not rows:
        return _make_verdict_without_cases(count_groups(MIN_GROUPS, noun), n_earlier, needed)
    groups: dict[str, list[ComparedCase]] = {}
    for row in rows:
        groups.setdefault(row.group or row.case, []).append(row)
    means = _compute_means(groups.values())
    changed = {key: [(row.case, row.new - row.old) for row in its] for key, its in groups.items()}
    changes = [fmean(change for _, change in its) for its in changed.values()]
    lost = find_regressions(changed, margin)
    reached = 0.0 if len(groups) < MIN_GROUPS else 1.0 - float(compute_gain_p_value(changes))
    decision, n_needed, answer = _apply_gate_rules(changes, reached, lost, margin, n_earlier, noun)
    if label_problem and decision is Decision.BETTER:
        decision, answer = Decision.CANNOT_TELL, f"Cannot tell: {label_problem}"
    worst = min(rows, key=lambda row: row.new - row.old)
    ci = compute_change_interval(changes, CONFIDENCE)
    figures = _describe_scores(rows, count_groups(len(groups), noun), means, ci)
    figures += _describe_noise(rows, margin) * (not lost) + _describe_confidence(n_earlier, reached) * (ci is not None)
    return Verdict(
        decision=decision,
        n_cases=len(rows),
        n_groups=len(groups),
        mean_old=means[0],
        mean_new=means[1],
        worst_change=worst.new - worst.old,
        worst_case=worst.case,
        ci=ci,
        n_needed=n_needed,
        answer=answer,
        figures=figures,
        n_earlier=n_earlier,
        confidence_needed=needed,
        confidence_reached=reached,
    )


def _compute_means(groups: Iterable[Sequence[ComparedCase]]) -> tuple[float, float]:
    """Return the mean score of the old and of the new version; every group has the same weight."""
    pairs = [(fmean(row.old for row in group), fmean(row.new for row in group)) for group in groups]
    return fmean(old for old, _ in pairs), fmean(new for _, new in pairs)


def _make_verdict_without_cases(wanted: str, n_earlier: int, needed: float) -> Verdict:
    answer = f"Cannot tell: no corrected case is in the hold-out, cases of {wanted} are needed"
    figures = "Nothing says whether the new version is better."
    nothing = (0, 0, 0.0, 0.0, 0.0, "", None, MIN_GROUPS)
    return Verdict(Decision.CANNOT_TELL, *nothing, answer, figures, n_earlier, needed)


def _describe_scores(
    rows: Sequence[ComparedCase], groups: str, means: tuple[float, float], ci: tuple[float, float] | None
) -> str:
    worst = min(rows, key=lambda row: row.new - row.old)
    counted = f"{len(rows)} hold-out case{'s' * (len(rows) != 1)}"
    counted += f" of {groups}" * (not groups.startswith(f"{len(rows):,} "))
    interval = "" if ci is None else f" ({CONFIDENCE:.0%} interval {ci[0]:+z.3f} to {ci[1]:+z.3f})"
    return (
        f"Mean {worst.metric} {means[0]:.3f} -> {means[1]:.3f} on {counted}, "
        f"change {means[1] - means[0]:+z.3f}{interval}, worst change {worst.new - worst.old:+z.3f} ({worst.case})."
    )


def _apply_gate_rules(
    changes: Sequence[float], reached: float, lost: Sequence[CaseRegression], margin: float, n_earlier: int, noun: str
) -> tuple[Decision, int, str]:
    mean, allowed = fmean(changes), compute_allowed_error(n_earlier)
    if lost:
        return Decision.WORSE, 0, _describe_regression(lost[0], margin, is_noise_known=len(changes) >= MIN_GROUPS)
    if mean < 0:
        return Decision.WORSE, 0, "Worse on average"
    if len(changes) < MIN_GROUPS:
        there = f"there {'is' if len(changes) == 1 else 'are'} {len(changes)}"
        answer = f"Not enough hold-out cases to tell: {count_groups(MIN_GROUPS, noun)} are needed, {there}"
        return Decision.CANNOT_TELL, MIN_GROUPS, answer
    if mean < MIN_GAIN:
        return Decision.CANNOT_TELL, 0, f"No better: the gain is below {MIN_GAIN:g}"
    if 1.0 - reached <= allowed:
        return Decision.BETTER, 0, "Better"
    needed = max(len(changes) + 1, estimate_required_pairs(changes, 1.0 - 2.0 * allowed))
    if 1.0 - reached <= FIRST_ERROR:
        answer = f"Not enough hold-out cases to tell in the {_format_ordinal(n_earlier + 1)} comparison on them"
        return Decision.CANNOT_TELL, needed, f"{answer}: about {count_groups(needed, noun)} are needed"
    answer = f"Not enough hold-out cases to tell so uneven a change: about {count_groups(needed, noun)} are needed"
    return Decision.CANNOT_TELL, needed, answer


def _describe_regression(lost: CaseRegression, margin: float, *, is_noise_known: bool) -> str:
    if not is_noise_known:
        return f"Worse: a case loses more than {margin:g}"
    who = f"the cases of {get_group_label(lost.name)} lose on average" if lost.is_group else f"{lost.name} loses"
    return f"Worse: {who} more than {margin:g}, and the differences between the other cases do not explain it"


def _describe_noise(rows: Sequence[ComparedCase], margin: float) -> str:
    """Describe how many cases lose more than the margin, if none of them is a regression."""
    n_noisy = sum(row.new - row.old < -margin for row in rows)
    if not n_noisy:
        return ""
    return f" {n_noisy} case{'s lose' if n_noisy > 1 else ' loses'} more than {margin:g}, as noise alone can do."


def _describe_confidence(n_earlier: int, reached: float) -> str:
    """Describe what the comparison needs and reaches."""
    needed = _format_confidence(1.0 - compute_allowed_error(n_earlier))
    number = _format_ordinal(n_earlier + 1)
    return (
        f" {number} comparison on this hold-out: {needed} confidence in a gain is needed, "
        f"{_format_confidence(reached)} is reached."
    )


def _format_confidence(confidence: float) -> str:
    """Format a confidence, rounded down, with as many digits as tell it from 100 %."""
    digits = 1 if confidence < 0.99 else min(MAX_DIGITS, math.ceil(-math.log10(max(1.0 - confidence, 1e-6))) - 1)
    return f"{math.floor(confidence * 100 * 10**digits + 1e-6) / 10**digits:.{digits}f} %"


def _format_ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
