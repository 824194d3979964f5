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
from napari_medseg.core.file_names import LABELS_ENDING, REVIEWED_ENDING, get_name_key, shorten_for_endings
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import LabelFormat, find_label_format
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.case_notes.notes import CaseNotes
from napari_medseg.workflow.output.image_names import ImageName, ImageNamer, is_dicom_image
from napari_medseg.workflow.output.provenance import Provenance

Row = tuple[Case, Correction, str]
"""A case with its correction and the file of its region of interest, as of `output.export.list_accepted_rows`."""


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

    @property
    def n_bytes(self) -> int:
        """Memory of image and labels."""
        layers = (self.labels, self.image.pixels, self.roi, self.reviewed_mask)
        return sum(layer.nbytes for layer in layers if layer is not None)


@dataclass(frozen=True, eq=False)
class ExportCase:
    """What is known of a case without its pixels, once it was read.

    `place` is its number among the cases of the export, from 0 on; `image_suffix` that of an image or mask beside its
    labels.
    """

    place: int
    case: Case
    task: Task
    name: ImageName
    image_suffix: str
    is_dicom: bool
    is_partly_reviewed: bool

    @property
    def owner(self) -> str:
        """What identifies it in a folder: its content and its task."""
        return _format_owner(self.case.content_hash, self.task.name)


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """One case with its names and the files to write; the keys of `files` are those of `provenance.json`.

    `label_format` is a name of `core.label_files.registry.LABEL_FORMATS`.
    """

    of: ExportCase
    stem: str
    files: Mapping[str, Path]
    label_format: str = "tiff"

    @property
    def owner(self) -> dict[str, str]:
        """What identifies the case in `provenance.json`: its content and its task."""
        return {"content_sha256": self.of.case.content_hash, "task": self.of.task.name}


def describe_case(item: ExportItem, place: int, suffix: str, namer: ImageNamer) -> ExportCase:
    """Return what the plan needs of a case that was read; raises `MedSegError` if a DICOM file of it is damaged."""
    return ExportCase(
        place,
        item.case,
        item.task,
        namer.make_case_name(item.image, item.case),
        find_label_format(suffix).choose_image_suffix(item.image),
        is_dicom_image(item.image),
        item.reviewed_mask is not None,
    )


def plan_files(
    cases: Sequence[ExportCase],
    folder: Path,
    suffix: str,
    with_images: bool,
    namer: ImageNamer,
    earlier: Provenance,
) -> list[ExportPlan]:
    """Name the files of each case; no file of the folder is touched."""
    stems = _make_file_stems(cases, namer, earlier)
    wanted = find_label_format(suffix)
    endings = [
        f"{LABELS_ENDING}{wanted.suffix}",
        f"_image{wanted.image_suffix}",
        f"{REVIEWED_ENDING}{wanted.image_suffix}",
    ]
    plans = []
    for one, stem in zip(cases, stems, strict=True):
        short = shorten_for_endings(stem, endings, folder)
        plans.append(ExportPlan(one, short, _make_file_paths(one, folder, short, wanted, with_images), wanted.name))
    return plans


def _make_file_stems(cases: Sequence[ExportCase], namer: ImageNamer, earlier: Provenance) -> list[str]:
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
    for one in cases:
        if one.owner not in known:
            owners[get_name_key(one.name.stem)].add(one.owner)
    stems = []
    for one in cases:
        owner, name, digest = one.owner, one.name, one.case.content_hash[:8]
        choices = [name.stem, f"{name.stem}_{one.task.name}", f"{name.stem}_{digest}_{one.task.name}"]
        rivals = owners[get_name_key(name.stem)] - {owner}
        if any(not rival.startswith(one.case.content_hash) for rival in rivals):
            choices[1] = f"{name.stem}_{digest}"
        if owner in known and _may_keep(known[owner], one, namer):
            choices.insert(0, known[owner])
        stem = next(choice for choice in choices if owners[get_name_key(choice)] <= {owner})
        owners[get_name_key(stem)].add(owner)
        stems.append(stem)
    return stems


def _may_keep(stem: str, one: ExportCase, namer: ImageNamer) -> bool:
    """Whether a case may keep the name of an earlier export. An export of an older version may have named a patient."""
    if namer.naming == "group":
        return re.match(rf"[a-z]+-[0-9]+_case-{one.case.id}(_|$)", stem) is not None
    return stem.startswith(one.name.stem) or not one.is_dicom


def _format_owner(content_sha256: str, task: str) -> str:
    return f"{content_sha256} {task}"


def _make_file_paths(
    one: ExportCase, folder: Path, stem: str, wanted: LabelFormat, with_images: bool
) -> dict[str, Path]:
    """Return the output paths of a case; the keys are those used in `provenance.json`."""
    files = {"labels_file": folder / f"{stem}{LABELS_ENDING}{wanted.suffix}"}
    if with_images:
        files["image_file"] = folder / f"{stem}_image{one.image_suffix}"
    if one.is_partly_reviewed:
        files["reviewed_file"] = folder / f"{stem}{REVIEWED_ENDING}{one.image_suffix}"
    return files


def refuse_foreign_files(plans: Sequence[ExportPlan], items: Sequence[ExportItem], earlier: Provenance) -> None:
    """Raise `MedSegError`, before anything is written, if a file exists that no export has written."""
    for plan in plans:
        for kind, path in plan.files.items():
            if path.exists() and not earlier.lists(path) and not _holds_same(kind, path, items[plan.of.place]):
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
