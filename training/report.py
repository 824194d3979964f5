"""`report.html` of a run: what was learnt, what changed on the hold-out, and where the new version is at its worst."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_medseg.core.cards import ModelCard
from training import html
from training.events import Compared, EpochEnded, Event, Notice, Started
from training.pictures import CasePicture

REPORT_FILE = "report.html"


def write_report(run_dir: Path, card: ModelCard, events: Sequence[Event], worst: Sequence[CasePicture]) -> Path:
    """Write the report of a run from its events; return its path."""
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    compared = sorted(
        (event for event in events if isinstance(event, Compared)), key=lambda event: event.new - event.old
    )
    parts = [html.paragraph(_lineage_text(card))]
    parts += [html.paragraph(_data_text(event)) for event in events if isinstance(event, Started)][-1:]
    parts += [html.paragraph(event.text) for event in events if isinstance(event, Notice)]
    parts += [html.heading("Learning"), html.curve("Training loss", [e.train_loss for e in epochs], "#D55E00")]
    parts += [html.curve("Validation Dice", [e.val_dice for e in epochs], "#0072B2")]
    parts += [html.heading("Old against new on the hold-out, worst change first"), _comparison_table(compared)]
    if worst:
        parts.append(html.heading("Where the new version is worst: reference left, new labels right"))
    parts += [html.picture(case.rgb, f"{case.name}: Dice {case.dice:.4f}") for case in worst]
    path = run_dir / REPORT_FILE
    path.write_text(html.page(f"Training run of {card.id}", parts), encoding="utf-8")
    return path


def _lineage_text(card: ModelCard) -> str:
    lineage = card.lineage
    origin = f"It comes from {lineage.parent}." if lineage.parent else "It has no parent."
    return f"{card.id}, made {lineage.created}. {origin} Seed {lineage.seed}, code {lineage.code_version}."


def _data_text(event: Started) -> str:
    budget = "no budget" if event.budget_s is None else f"a budget of {event.budget_s:.0f} s"
    return (
        f"{event.n_train} images to learn from, {event.n_replay} replayed, {event.n_validate} to validate on, "
        f"{event.n_hold_out} held out; {event.device}, {budget}."
    )


def _comparison_table(compared: Sequence[Compared]) -> str:
    if not compared:
        return html.paragraph("No case is held out, so nothing says whether the new version is better.")
    rows: list[list[str | int | float]] = [
        [event.case, event.source, event.old, event.new, f"{event.new - event.old:+.4f}"] for event in compared
    ]
    old, new = (float(np.mean([row[column] for row in rows])) for column in (2, 3))  # type: ignore[arg-type]
    rows.insert(0, [f"mean of {len(compared)}", "", old, new, f"{new - old:+.4f}"])
    metric = compared[0].metric
    return html.table(["case", "source", f"old {metric}", f"new {metric}", "change"], rows)
