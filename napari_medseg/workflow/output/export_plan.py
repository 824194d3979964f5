"""The plan of an export: which files each case gets, checked before the first one is written.

No two cases share a name, a case keeps its name in later exports, and a file that no export wrote is never overwritten.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import get_name_key, shorten_for_endings
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import LabelFormat, find_label_format
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.case_notes.notes import CaseNotes
from napari_medseg.workflow.output.image_names import ImageName, ImageNamer, is_dicom_image
from napari_medseg.workflow.output.provenance import Provenance


@dataclass(frozen=True, eq=False)
class ExportItem:
    """One accepted case with its correction, labels and image.

    `labels` are integers on the canonical grid, shape (y, x) or (z, y, x); `task` defines their meaning. `roi` are the
    labels of the region of interest on the same grid; `None` if the model predicts in the whole image. `reviewed_mask`
    is true in the review region; `None` if the whole image was reviewed. `notes` name no one that the project knows.
    """

    case: Case
    task: Task
    correction: Correction
    labels: NDArray[Any]
    image: Image
    roi: NDArray[Any] | None = None
    reviewed_mask: NDArray[np.bool_] | None = None
    notes: CaseNotes = ()


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """One case with its names and the files to write; the keys of `files` are those of `provenance.json`.

    `label_format` is a name of `core.label_files.registry.LABEL_FORMATS`.
    """

    item: ExportItem
    name: ImageName
    stem: str
    files: Mapping[str, Path]
    label_format: str = "tiff"

    @property
    def owner(self) -> dict[str, str]:
        """What identifies the case in `provenance.json`: its content and its task."""
        return {"content_sha256": self.item.case.content_hash, "task": self.item.task.name}


def plan_files(
    items: Sequence[ExportItem],
    folder: Path,
    suffix: str,
    with_images: bool,
    namer: ImageNamer,
    earlier: Provenance,
) -> list[ExportPlan]:
    """Name the files of each case; no file of the folder is touched.

    Raises
    ------
    MedSegError
        If a DICOM file of a case is damaged.
    """
    names = [namer.make_case_name(item.image, item.case) for item in items]
    stems = _make_file_stems(items, names, namer, earlier)
    wanted = find_label_format(suffix)
    endings = [f"_labels{wanted.suffix}", f"_image{wanted.image_suffix}", f"_reviewed{wanted.image_suffix}"]
    plans = []
    for item, name, stem in zip(items, names, stems, strict=True):
        short = shorten_for_endings(stem, endings, folder)
        files = _make_file_paths(item, folder, short, wanted, with_images)
        plans.append(ExportPlan(item, name, short, files, wanted.name))
    return plans


def _make_file_stems(
    items: Sequence[ExportItem], names: Sequence[ImageName], namer: ImageNamer, earlier: Provenance
) -> list[str]:
    """Return one file stem per case; a case keeps the one of an earlier export.

    If several cases share a name, the task (of the same image) or the image hash is added.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    known: dict[str, str] = {}
    for entry in earlier.known:
        owner = _format_owner(entry["content_sha256"], entry.get("task", ""))
        owners[get_name_key(entry["stem"])].add(owner)
        if entry.get("naming", "stem") == namer.naming:
            known[owner] = entry["stem"]
    mine = [_format_owner(item.case.content_hash, item.task.name) for item in items]
    for owner, name in zip(mine, names, strict=True):
        if owner not in known:
            owners[get_name_key(name.stem)].add(owner)
    stems = []
    for item, owner, name in zip(items, mine, names, strict=True):
        digest = item.case.content_hash[:8]
        choices = [name.stem, f"{name.stem}_{item.task.name}", f"{name.stem}_{digest}_{item.task.name}"]
        rivals = owners[get_name_key(name.stem)] - {owner}
        if any(not rival.startswith(item.case.content_hash) for rival in rivals):
            choices[1] = f"{name.stem}_{digest}"
        if owner in known and _may_keep(known[owner], name, item, namer):
            choices.insert(0, known[owner])
        stem = next(choice for choice in choices if owners[get_name_key(choice)] <= {owner})
        owners[get_name_key(stem)].add(owner)
        stems.append(stem)
    return stems


def _may_keep(stem: str, name: ImageName, item: ExportItem, namer: ImageNamer) -> bool:
    """Whether a case may keep the name of an earlier export. An export of an older version may have named a patient."""
    if namer.naming == "group":
        return re.match(rf"[a-z]+-[0-9]+_case-{item.case.id}(_|$)", stem) is not None
    return stem.startswith(name.stem) or not is_dicom_image(item.image)


def _format_owner(content_sha256: str, task: str) -> str:
    return f"{content_sha256} {task}"


def _make_file_paths(
    item: ExportItem, folder: Path, stem: str, wanted: LabelFormat, with_images: bool
) -> dict[str, Path]:
    """Return the output paths of a case; the keys are those used in `provenance.json`."""
    image_suffix = wanted.choose_image_suffix(item.image)
    files = {"labels_file": folder / f"{stem}_labels{wanted.suffix}"}
    if with_images:
        files["image_file"] = folder / f"{stem}_image{image_suffix}"
    if item.reviewed_mask is not None:
        files["reviewed_file"] = folder / f"{stem}_reviewed{image_suffix}"
    return files


def refuse_foreign_files(plans: Sequence[ExportPlan], earlier: Provenance) -> None:
    """Raise `MedSegError`, before anything is written, if a file exists that no export has written."""
    for plan in plans:
        for kind, path in plan.files.items():
            if path.exists() and not earlier.lists(path) and not _holds_same(kind, path, plan.item):
                raise MedSegError(
                    f"{path} exists and was not made by an export. Choose another folder; nothing is overwritten."
                )


def _holds_same(kind: str, path: Path, item: ExportItem) -> bool:
    """Whether a file already holds what the export would write: an export by an older version was interrupted."""
    try:
        shape = item.image.pixels.shape
        if kind == "image_file":
            return np.array_equal(formats.read(path, expected_shape=shape).pixels, item.image.pixels)
        expected = item.labels if kind == "labels_file" else item.reviewed_mask
        return expected is not None and np.array_equal(
            formats.read_labels(path, item.image, expected_shape=shape), expected
        )
    except MedSegError:
        return False
