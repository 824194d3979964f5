"""COCO: one file of annotations for each set, over all its images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import reorient_to_file
from napari_medseg.core.label_files.coco_writer import list_annotations, list_categories
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.data_set.plan import VALIDATION_FOLD

if TYPE_CHECKING:
    from napari_medseg.workflow.data_set.layouts import PlacedCase


def write_coco_lists(folder: Path, task: Task, cases: "Sequence[PlacedCase]", licence: str) -> list[str]:
    """Write `annotations/instances_train.json`, `_val.json` (the first fold) and `_test.json` (the hold-out)."""
    sides: dict[str, list[PlacedCase]] = {"train": [], "val": [], "test": []}
    for case in cases:
        validates = case.plan.fold == VALIDATION_FOLD
        sides["test" if case.plan.is_held_out else "val" if validates else "train"].append(case)
    (folder / "annotations").mkdir(exist_ok=True)
    for side, those in sides.items():
        content = _describe(folder, task, those, licence)
        path = folder / "annotations" / f"instances_{side}.json"
        atomic_write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
    remarks = ["Coordinates are pixels of the image; the format has no pixel size."]
    if any(case.plan.is_partly_reviewed for case in cases):
        remarks.append("COCO has no place for unreviewed pixels; they are in the folder reviewed (0 = not reviewed).")
    return remarks


def _describe(folder: Path, task: Task, cases: "Sequence[PlacedCase]", licence: str) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, case in enumerate(cases, start=1):
        image = formats.read(folder / case.image)
        lying = reorient_to_file(formats.read_labels(folder / case.labels, image), get_png_tiff_storage(image))
        name = Path(case.image).name
        images.append(
            {"id": number, "file_name": name, "height": lying.shape[0], "width": lying.shape[1], "license": 1}
        )
        annotations += list_annotations(lying, task, image_id=number, first_id=len(annotations) + 1)
    return {
        "info": {"description": f"{task.title}, corrected with napari-medseg"},
        "licenses": [{"id": 1, "name": licence, "url": ""}],
        "images": images,
        "categories": list_categories(task),
        "annotations": annotations,
    }
