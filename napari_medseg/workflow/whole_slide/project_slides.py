"""Slides of a project: where their predictions are, and what people corrected on them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.slides.fields import Field, place_of
from napari_medseg.core.slides.slide import Slide
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.output.export import export_corrections, read_export_items
from napari_medseg.workflow.second_reader.hidden import leave_out_unread
from napari_medseg.workflow.whole_slide.corrections import CorrectedField
from napari_medseg.workflow.whole_slide.grid import UM_PER_MM
from napari_medseg.workflow.whole_slide.manifest import SlideIdentity, get_prediction_folder
from napari_medseg.workflow.workspace import Workspace

FieldRow = tuple[Case, Correction, Field]


def find_prediction_folder(ws: Workspace, slide: Slide, model: str) -> Path:
    """Return the folder of a slide's prediction by a version, whether it was begun or not."""
    return get_prediction_folder(ws.project.folder, SlideIdentity.of(slide), model)


def list_corrected_fields(
    ws: Workspace, slide: Path, task: str, *, with_blind: bool = False
) -> tuple[list[FieldRow], int]:
    """Return the accepted fields of a slide, the oldest correction first, and how many are left out.

    Those that the person who works now is to read blind are left out, unless `with_blind`. Call it in the main thread.
    """
    rows = [
        (case, correction, place)
        for case, correction in list_current_corrections(ws, task)
        if (place := place_of(case)) is not None and _is_same(place.slide, slide)
    ]
    shown, hidden = (rows, []) if with_blind else leave_out_unread(ws, rows)
    return sorted(shown, key=lambda row: row[1].created), len(hidden)


def read_corrected_fields(ws: Workspace, slide: Slide, rows: Sequence[FieldRow]) -> list[CorrectedField]:
    """Read the labels of fields, see `iter_corrected_fields`."""
    return list(iter_corrected_fields(ws, slide, rows))


def write_fields(ws: Workspace, rows: Sequence[FieldRow], folder: Path) -> tuple[list[Path], str]:
    """Write corrected fields as images and labels.

    Returns
    -------
    list of Path, str
        The files, and which fields were left out because they cannot be read, one line each.

    Raises
    ------
    MedSegError
        As `export_corrections`, but for fields that cannot be read.
    """
    if not rows:
        return [], ""
    items = read_export_items(ws, [(case, correction, "") for case, correction, _ in rows])
    try:
        written = export_corrections(items, folder, ".tif", with_images=True)
    except MedSegError:
        if len(items.left_out) < len(rows):
            raise
        written = []  # the rest of the slide is still exported
    return written, items.left_out_text


def iter_corrected_fields(ws: Workspace, slide: Slide, rows: Sequence[FieldRow]) -> Iterator[CorrectedField]:
    """Read the labels of fields one by one. It only reads files, so it may run in a worker thread.

    A field whose labels are missing or damaged is left out and reported; the prediction stays there.
    """
    for case, correction, place in rows:
        try:
            labels = read_case_labels(ws.project.folder, case, correction)
            reviewed = read_reviewed_pixels(ws.project.folder, case, correction)
        except MedSegError as error:
            report_damage(f"{error} On the slide, the prediction stays in its place.")
            continue
        downsample = slide.levels[min(place.level, len(slide.levels) - 1)].downsample
        yield CorrectedField(place.y, place.x, downsample, labels, reviewed)


def find_resolution(ws: Workspace, card: ModelCard) -> float | None:
    """Return the micrometres per pixel to predict at: those of the card, else those of the fields that were corrected.

    A model that learnt from fields of a level saw them at the resolution of that level. `None` if nothing is known.
    Call it in the main thread.
    """
    if card.um_per_px is not None:
        return card.um_per_px
    spacings = [
        case.spacing_mm[-1] * UM_PER_MM
        for case, _ in list_current_corrections(ws, card.task)
        if case.spacing_mm is not None and place_of(case) is not None
    ]
    return float(np.median(spacings)) if spacings else None


def _is_same(one: Path, other: Path) -> bool:
    return one == other or one.absolute() == other.absolute()
