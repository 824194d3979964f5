"""`report.html` of a run: what was learnt, what changed on the hold-out, where the new version is best and worst."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from training.evaluation import html, svg_charts
from training.evaluation.calibration import CalibrationBin
from training.evaluation.case_figure import CaseFigure
from training.evaluation.scores import CaseScore
from training.run_folder import REPORT_FILE, Considered, EpochEnded, Event, Finished, Notice, Started

LOSS_COLOUR, SCORE_COLOUR, RATE_COLOUR, RELIABILITY_COLOUR = "#c2410c", "#0369a1", "#6d28d9", "#0f766e"
WEIGHT_COLOUR = "#a16207"
INTERVAL_NOTE = (
    "Intervals hold the mean in 95 of 100 draws of the same number of cases (bootstrap over cases); the change is "
    "measured case by case. A label that neither has counts as 1, one that only one of the two has as 0."
)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How far the new version's probabilities can be believed, on `measured_on`: its words for what was measured.

    `n_hold_out` is how many images of the hold-out that was, 0 where it was other images; `ece_uncorrected` is the
    error without the card's temperature.
    """

    bins: Sequence[CalibrationBin]
    ece: float
    ece_uncorrected: float
    measured_on: str
    n_hold_out: int


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """What a run came to.

    Parameters
    ----------
    card
        Of the new version.
    baseline
        What it is compared with, called "old" in the report.
    old, new
        Both versions on the same hold-out cases, in the same order; empty without a hold-out.
    worst, best
        Pictures of hold-out cases under the new version: the worst first, and the best first.
    reliability
        `None` where nothing is labelled.
    """

    card: ModelCard
    baseline: str
    old: Sequence[CaseScore]
    new: Sequence[CaseScore]
    worst: Sequence[CaseFigure]
    best: Sequence[CaseFigure]
    reliability: Reliability | None


def write_report(run_dir: Path, outcome: RunOutcome, events: Sequence[Event]) -> Path:
    """Write the report of a run from its outcome and its events; return its path."""
    parts = [html.tiles(_build_tiles(outcome, events)), html.paragraph(_describe_lineage(outcome.card))]
    parts += [html.paragraph(_describe_data(event)) for event in events if isinstance(event, Started)][-1:]
    if notices := list(dict.fromkeys(event.text for event in events if isinstance(event, Notice))):
        parts += [html.heading("What happened"), html.bullets(notices)]
    parts += [html.heading("Learning"), *_draw_curves(events), *_build_candidates_table(events)]
    parts += [html.heading("The hold-out, label by label"), *_build_label_table(outcome)]
    parts += _build_reliability_section(outcome.reliability)
    parts += [html.heading("Old against new on the hold-out, worst change first"), *_build_comparison_table(outcome)]
    parts += _build_case_figures("Where the new version is worst", outcome.worst)
    parts += _build_case_figures("Where it is best", outcome.best)
    path = run_dir / REPORT_FILE
    path.write_text(html.page(f"Training run of {outcome.card.id}", parts), encoding="utf-8")
    return path


def _build_tiles(outcome: RunOutcome, events: Sequence[Event]) -> list[tuple[str, str]]:
    """Return the figures on top: a word or two, and a number."""
    tiles = []
    if outcome.new:
        old, new = (statistics.fmean(case.metric_value for case in cases) for cases in (outcome.old, outcome.new))
        tiles += [
            (f"hold-out {outcome.new[0].metric}", f"{new:.4f}"),
            ("change", f"{new - old:+.4f}"),
            ("cases", str(len(outcome.new))),
        ]
    if ended := [event for event in events if isinstance(event, Finished)][-1:]:
        tiles += [("validation Dice", f"{ended[0].val_dice:.4f}"), ("best epoch", str(ended[0].best_epoch))]
        tiles += [("duration", _format_duration(ended[0].seconds))]
    return tiles


def _describe_lineage(card: ModelCard) -> str:
    lineage = card.lineage
    origin = f"It comes from {lineage.parent}." if lineage.parent else "It has no parent."
    made = lineage.created[:16].replace("T", " ")
    kind = " on ".join(filter(None, (card.architecture.name, card.architecture.encoder)))
    return f"{card.id}, {kind}, made {made}. {origin} Seed {lineage.seed}, code {lineage.code_version}."


def _describe_data(event: Started) -> str:
    budget = "no budget" if event.budget_s is None else f"a budget of {event.budget_s:.0f} s"
    return (
        f"{event.n_train} images to learn from, {event.n_replay} replayed, {event.n_validate} to validate on, "
        f"{event.n_hold_out} held out; {event.device}, {budget}."
    )


def _draw_curves(events: Sequence[Event]) -> list[str]:
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    best = max((event.epoch for event in epochs if event.best), default=None)
    return [
        svg_charts.draw_curve("Training loss", [(e.epoch, e.train_loss) for e in epochs], LOSS_COLOUR),
        svg_charts.draw_curve(
            "Validation Dice; a ring marks the best", [(e.epoch, e.val_dice) for e in epochs], SCORE_COLOUR, best
        ),
        svg_charts.draw_curve("Learning rate", [(e.epoch, e.rate) for e in epochs], RATE_COLOUR),
        *_draw_loss_weights(epochs),
    ]


def _draw_loss_weights(epochs: Sequence[EpochEnded]) -> list[str]:
    """Return a curve for each term of the loss whose weights changed."""
    names = dict.fromkeys(name for event in epochs for name in event.loss_weights)
    return [
        svg_charts.draw_curve(
            f"Weight of {name} in the loss",
            [(event.epoch, event.loss_weights[name]) for event in epochs if name in event.loss_weights],
            WEIGHT_COLOUR,
        )
        for name in names
    ]


def _build_candidates_table(events: Sequence[Event]) -> list[str]:
    """Return the ways to use the weights at the cycles' ends, where these were kept."""
    ways = {event.name: event for event in events if isinstance(event, Considered)}
    if not ways:
        return []
    rows = [[way.name, way.val_dice, way.cost, "kept" if way.chosen else ""] for way in ways.values()]
    return [html.heading("Weights at the ends of cycles"), html.table(["way", "validation Dice", "cost", ""], rows)]


def _build_label_table(outcome: RunOutcome) -> list[str]:
    old, new = outcome.old, outcome.new
    if not new:
        return [html.paragraph("No case is held out, so nothing says whether the new version is better.")]
    labels = [name for name in new[0].dice if any(name not in case.absent for case in new)]
    rows = [
        [
            *_build_change_row(name, [one.dice[name] for one in old], [one.dice[name] for one in new]),
            _mean_iou(new, [name]),
        ]
        for name in labels
    ]
    if len(labels) > 1:
        means = _build_change_row("mean of labels", [one.mean_dice for one in old], [one.mean_dice for one in new])
        rows.append([*means, _mean_iou(new, labels)])
    if new[0].objects is not None:
        rows.append(
            [
                *_build_change_row(new[0].metric, [one.metric_value for one in old], [one.metric_value for one in new]),
                "",
            ]
        )
    header = ["label", "old Dice", "new Dice", "95 % interval", "worst case", "change", "95 % interval", "new IoU"]
    return [html.table(header, rows), html.paragraph(INTERVAL_NOTE)]


def _build_change_row(name: str, old: Sequence[float], new: Sequence[float]) -> list[str | int | float]:
    changes = [after - before for before, after in zip(old, new, strict=True)]
    of_mean, of_change = compute_bootstrap_interval(new), compute_bootstrap_interval(changes)
    intervals = [f"{of_mean[0]:.4f} to {of_mean[1]:.4f}", f"{of_change[0]:+.4f} to {of_change[1]:+.4f}"]
    means = statistics.fmean(old), statistics.fmean(new)
    return [name, *means, intervals[0], min(new), f"{statistics.fmean(changes):+.4f}", intervals[1]]


def _mean_iou(cases: Sequence[CaseScore], labels: Sequence[str]) -> float:
    return statistics.fmean(case.iou[name] for case in cases for name in labels if name not in case.absent)


def _build_reliability_section(found: Reliability | None) -> list[str]:
    if found is None or not found.bins:
        return []
    title = (
        f"Expected calibration error {found.ece:.4f}, on {found.measured_on}; on the broken line nothing would be off"
    )
    curve = svg_charts.draw_reliability_curve(title, found.bins, RELIABILITY_COLOUR)
    return [html.heading("How far its probabilities can be believed"), curve]


def _build_comparison_table(outcome: RunOutcome) -> list[str]:
    if not outcome.new:
        return [html.paragraph("There is nothing to compare.")]
    pairs = sorted(
        zip(outcome.old, outcome.new, strict=True), key=lambda pair: pair[1].metric_value - pair[0].metric_value
    )
    rows: list[list[str | int | float]] = [
        [new.name, new.source, old.metric_value, new.metric_value, f"{new.metric_value - old.metric_value:+.4f}"]
        for old, new in pairs
    ]
    old, new = (statistics.fmean(case.metric_value for case in cases) for cases in (outcome.old, outcome.new))
    rows.insert(0, [f"mean of {len(pairs)}", "", old, new, f"{new - old:+.4f}"])
    metric = outcome.new[0].metric
    who = html.paragraph(f"Old is {outcome.baseline}, new is {outcome.card.id}.")
    return [who, html.table(["case", "source", f"old {metric}", f"new {metric}", "change"], rows)]


def _build_case_figures(title: str, case_figures: Sequence[CaseFigure]) -> list[str]:
    if not case_figures:
        return []
    shown = [html.figure(case.rgb, f"{case.name}: Dice {case.dice:.4f}") for case in case_figures]
    return [html.heading(f"{title}: reference left, its labels right"), *shown]


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
