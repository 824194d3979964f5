"""`report.html` of a run: training curves, changes on the hold-out, and the best and worst cases."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from napari_medseg.core.readings.hidden_names import NAMELESS, hide_names
from training.evaluation.calibration import CalibrationBin
from training.evaluation.scores import CaseScore
from training.reports import html, svg_charts
from training.reports.case_figure import CaseFigure
from training.reports.run_page import RunPage, write_page, write_page_data
from training.run_folder import Considered, EpochEnded, Event, Finished, Notice, Started

LOSS_COLOUR, SCORE_COLOUR, RATE_COLOUR, RELIABILITY_COLOUR = "#c2410c", "#0369a1", "#6d28d9", "#0f766e"
WEIGHT_COLOUR = "#a16207"


@dataclass(frozen=True, eq=False)
class Reliability:
    """Calibration of the new version's probabilities; `measured_on` describes the images that were used.

    `n_hold_out` is the number of hold-out images, or 0 if other images were used. `ece` and `ece_uncorrected` are
    the expected calibration errors with and without the temperature on the card.
    """

    bins: Sequence[CalibrationBin]
    ece: float
    ece_uncorrected: float
    measured_on: str
    n_hold_out: int


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """The result of a run.

    Parameters
    ----------
    card
        Card of the new version.
    baseline
        The version that it is compared with, called "old" in the report.
    old, new
        Scores of both versions on the same hold-out cases, in the same order; empty without a hold-out.
    worst, best
        Figures of hold-out cases with the labels of the new version: worst first, and best first.
    reliability
        `None` if no pixel is labelled.
    verdict
        What the promotion gate says; empty if the run was not started by a project.
    hidden
        Names of hold-out cases that a second person is to read blind: their scores stand without a name.
    """

    card: ModelCard
    baseline: str
    old: Sequence[CaseScore]
    new: Sequence[CaseScore]
    worst: Sequence[CaseFigure]
    best: Sequence[CaseFigure]
    reliability: Reliability | None
    verdict: str = ""
    hidden: frozenset[str] = frozenset()


def write_report(run_dir: Path, outcome: RunOutcome, events: Sequence[Event]) -> Path:
    """Write the report of a run from its outcome and its events, as data and as a page; return the path of the page."""
    started = [event for event in events if isinstance(event, Started)][-1:]
    page = RunPage(
        model=outcome.card.id,
        baseline=outcome.baseline,
        tiles=_build_tiles(outcome, events),
        verdict=hide_names(outcome.verdict, outcome.hidden),
        lineage=_describe_lineage(outcome.card),
        data=_describe_data(started[0]) if started else "",
        notices=list(dict.fromkeys(event.text for event in events if isinstance(event, Notice))),
        curves=_draw_curves(events),
        candidates=_build_candidates_table(events),
        labels=_build_label_table(outcome),
        reliability=_draw_reliability(outcome.reliability),
        comparison=_build_comparison_table(outcome),
        worst=html.make_case_figures(outcome.worst),
        best=html.make_case_figures(outcome.best),
    )
    write_page_data(run_dir, page)
    return write_page(run_dir, page)


def _build_tiles(outcome: RunOutcome, events: Sequence[Event]) -> list[tuple[str, str]]:
    """Return the key figures at the top of the report: a short name and a value each."""
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
    origin = f"Its parent is {lineage.parent}." if lineage.parent else "It has no parent."
    made = lineage.created[:16].replace("T", " ")
    kind = " on ".join(filter(None, (card.architecture.name, card.architecture.encoder)))
    return f"{card.id}, {kind}, created {made}. {origin} Seed {lineage.seed}, code {lineage.code_version}."


def _describe_data(event: Started) -> str:
    budget = "no time budget" if event.budget_s is None else f"time budget {event.budget_s:.0f} s"
    return (
        f"Images: {event.n_train} for training, {event.n_replay} for replay, {event.n_validate} for validation, "
        f"{event.n_hold_out} in the hold-out. Device: {event.device}; {budget}."
    )


def _draw_curves(events: Sequence[Event]) -> list[svg_charts.Chart]:
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    best = max((event.epoch for event in epochs if event.best), default=None)
    curves = [
        svg_charts.draw_curve("Training loss", [(e.epoch, e.train_loss) for e in epochs], LOSS_COLOUR),
        svg_charts.draw_curve(
            "Validation Dice; a ring marks the best epoch", [(e.epoch, e.val_dice) for e in epochs], SCORE_COLOUR, best
        ),
        svg_charts.draw_curve("Learning rate", [(e.epoch, e.rate) for e in epochs], RATE_COLOUR),
        *_draw_loss_weights(epochs),
    ]
    return [curve for curve in curves if curve is not None]


def _draw_loss_weights(epochs: Sequence[EpochEnded]) -> list[svg_charts.Chart | None]:
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


def _build_candidates_table(events: Sequence[Event]) -> html.Table | None:
    """Return the candidates made from the weights at the ends of cycles; `None` if these were not kept."""
    ways = {event.name: event for event in events if isinstance(event, Considered)}
    rows = [[way.name, way.val_dice, way.cost, "kept" if way.chosen else ""] for way in ways.values()]
    return html.Table(["candidate", "validation Dice", "cost", ""], rows) if rows else None


def _build_label_table(outcome: RunOutcome) -> html.Table | None:
    """Return old against new for each label; `None` without a hold-out."""
    old, new = outcome.old, outcome.new
    if not new:
        return None
    labels = list(dict.fromkeys(name for case in new for name in case.dice if name not in case.absent))
    rows = [
        [
            *_build_change_row(name, *([one.dice[name] for one in side if name in one.dice] for side in (old, new))),
            _mean_iou(new, [name]),
        ]
        for name in labels
    ]
    if len(labels) > 1:
        means = _build_change_row("mean of labels", [one.mean_dice for one in old], [one.mean_dice for one in new])
        rows.append([*means, _mean_iou(new, labels)])
    if all(case.objects is not None for case in new):
        rows.append(
            [
                *_build_change_row(new[0].metric, [one.metric_value for one in old], [one.metric_value for one in new]),
                "",
            ]
        )
    header = ["label", "old Dice", "new Dice", "95 % interval", "worst case", "change", "95 % interval", "new IoU"]
    return html.Table(header, rows)


def _build_change_row(name: str, old: Sequence[float], new: Sequence[float]) -> list[str | int | float]:
    changes = [after - before for before, after in zip(old, new, strict=True)]
    of_mean, of_change = compute_bootstrap_interval(new), compute_bootstrap_interval(changes)
    intervals = [f"{of_mean[0]:.4f} to {of_mean[1]:.4f}", f"{of_change[0]:+.4f} to {of_change[1]:+.4f}"]
    means = statistics.fmean(old), statistics.fmean(new)
    return [name, *means, intervals[0], min(new), f"{statistics.fmean(changes):+.4f}", intervals[1]]


def _mean_iou(cases: Sequence[CaseScore], labels: Sequence[str]) -> float:
    return statistics.fmean(
        case.iou[name] for case in cases for name in labels if name in case.iou and name not in case.absent
    )


def _draw_reliability(found: Reliability | None) -> svg_charts.Chart | None:
    if found is None or not found.bins:
        return None
    title = (
        f"Expected calibration error {found.ece:.4f} on {found.measured_on}. The dashed line is perfect calibration."
    )
    return svg_charts.draw_reliability_curve(title, found.bins, RELIABILITY_COLOUR)


def _build_comparison_table(outcome: RunOutcome) -> html.Table | None:
    """Return old against new for each case; `None` without a hold-out."""
    if not outcome.new:
        return None
    pairs = sorted(
        zip(outcome.old, outcome.new, strict=True), key=lambda pair: pair[1].metric_value - pair[0].metric_value
    )
    rows: list[list[str | int | float]] = [
        [
            NAMELESS if new.name in outcome.hidden else new.name,
            new.source,
            old.metric_value,
            new.metric_value,
            f"{new.metric_value - old.metric_value:+.4f}",
        ]
        for old, new in pairs
    ]
    old, new = (statistics.fmean(case.metric_value for case in cases) for cases in (outcome.old, outcome.new))
    rows.insert(0, [f"mean of {len(pairs)}", "", old, new, f"{new - old:+.4f}"])
    metric = outcome.new[0].metric
    return html.Table(["case", "source", f"old {metric}", f"new {metric}", "change"], rows)


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
