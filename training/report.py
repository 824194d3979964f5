"""`report.html` of a run: what was learnt, what changed on the hold-out, and where the new version is at its worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.cards import ModelCard
from napari_medseg.core.image import Image
from napari_medseg.core.tasks import Task
from training import html
from training.evaluate import Judged
from training.events import Compared, EpochEnded, Event, Notice, Started

REPORT_FILE = "report.html"
PICTURE_PX = 360
TINT = 0.45


@dataclass(frozen=True, eq=False)
class WorstCase:
    """A case of the hold-out as a picture: reference on the left, the new version's labels on the right."""

    name: str
    dice: float
    rgb: NDArray[np.uint8]


def write_report(run_dir: Path, card: ModelCard, events: Sequence[Event], worst: Sequence[WorstCase]) -> Path:
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


def worst_case(judged: Judged, task: Task) -> WorstCase:
    """Draw a case; of a volume the plane with most wrong voxels."""
    wrong = (judged.predicted != judged.reference).reshape(-1, *judged.reference.shape[-2:])
    index = int(np.count_nonzero(wrong, axis=(1, 2)).argmax())
    plane = _grey_plane(judged.image, index)
    step = max(1, -(-max(plane.shape) // PICTURE_PX))
    panels = [
        _tinted(plane, labels.reshape(wrong.shape)[index], task)[::step, ::step]
        for labels in (judged.reference, judged.predicted)
    ]
    return WorstCase(judged.score.name, judged.score.mean_dice, np.concatenate(panels, axis=1))


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
    return html.table(["case", "source", "old Dice", "new Dice", "change"], rows)


def _grey_plane(image: Image, index: int) -> NDArray[np.floating[Any]]:
    """Return one plane as grey values in [0, 1], (y, x)."""
    pixels = image.pixels if len(image.spatial_axes) == 3 else image.pixels[np.newaxis]
    plane = pixels[index].astype(np.float32)
    if plane.ndim == 3:
        plane = plane.mean(axis=-1)
    low, high = np.percentile(plane, (1, 99))
    grey: NDArray[np.floating[Any]] = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    return grey


def _tinted(plane: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], task: Task) -> NDArray[np.uint8]:
    rgb = np.repeat(plane[..., np.newaxis] * 255.0, 3, axis=-1)
    for label in task.labels:
        colour = np.array([int(label.colour[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float32)
        inside = labels == label.value
        rgb[inside] = (1 - TINT) * rgb[inside] + TINT * colour
    return rgb.round().astype(np.uint8)
