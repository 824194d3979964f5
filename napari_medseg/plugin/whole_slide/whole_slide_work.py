"""What the row "Predict slide" does in threads."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.workflow.whole_slide.density import DensityMap, compute_density
from napari_medseg.workflow.whole_slide.export import open_to_read
from napari_medseg.workflow.whole_slide.label_pyramid import LabelPyramid
from napari_medseg.workflow.whole_slide.manifest import Manifest, SlideIdentity, get_prediction_folder
from napari_medseg.workflow.whole_slide.plan import SlidePlan, make_plan
from napari_medseg.workflow.whole_slide.prediction import (
    SlideProgress,
    begin_prediction,
    continue_prediction,
    find_manifest,
    predict_chunks,
)
from napari_medseg.workflow.whole_slide.project_slides import FieldRow, iter_corrected_fields
from napari_medseg.workflow.whole_slide.shown_labels import PackedField, pack_fields
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """The folder of a prediction, how far it is and its labels (`None`: not begun), and the corrected fields."""

    folder: Path
    progress: SlideProgress | None = None
    labels: LabelPyramid | None = None
    manifest: Manifest | None = None
    fields: tuple[PackedField, ...] = ()


def plan_slide(
    slide: Path, project: Path, card: ModelCard, um_per_px: float | None
) -> Generator[tuple[SlidePlan, Path]]:
    """Yield what would be predicted, and the folder for it."""
    with contextlib.closing(open_slide(slide)) as opened:
        plan = make_plan(opened, card, find_tissue(opened).mask, um_per_px)
    yield plan, get_prediction_folder(project, plan.manifest.slide, card.id)


def find_labels(
    workspace: Workspace, slide: Path, project: Path, card: ModelCard, rows: list[FieldRow]
) -> Generator[FoundLabels]:
    """Yield what there is of a prediction."""
    with contextlib.closing(open_slide(slide)) as opened:
        folder = get_prediction_folder(project, SlideIdentity.of(opened), card.id)
        if find_manifest(folder) is None:
            yield FoundLabels(folder)
            return
        with open_to_read(folder) as whole:
            table, manifest = whole.table, whole.manifest
            progress = SlideProgress(table.count("done"), table.n_chunks, table.n_objects)
            fields = iter_corrected_fields(workspace, opened, rows)
            packed = pack_fields(fields, manifest.grid, whole.labels.dtype, are_objects=manifest.definition.instances)
    yield FoundLabels(folder, progress, whole.labels, manifest, tuple(packed))


def predict_slide(
    slide: Path,
    folder: Path,
    plan: SlidePlan | None,
    card: ModelCard,
    predict: Callable[..., Any],
    must_wait: Callable[[], bool],
) -> Generator[SlideProgress]:
    """Predict the chunks that are left; begin with a plan if there is one and nothing is begun."""
    if plan is not None and find_manifest(folder) is None:
        begin_prediction(folder, plan).close()
    version = (card.id, card.weights_sha256)
    with contextlib.closing(open_slide(slide)) as opened, continue_prediction(folder, opened, version) as whole:
        yield from predict_chunks(whole, opened, predict, must_wait)


def measure_density(folder: Path) -> Generator[DensityMap]:
    """Yield the density of what is predicted so far."""
    with open_to_read(folder) as whole:
        density = compute_density(whole)
    yield density
