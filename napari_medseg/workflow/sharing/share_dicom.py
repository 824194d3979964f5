"""Share DICOM: images of accepted cases and their labels (SEG, RTSTRUCT), without identity and with one map of UIDs.

Each case is written as a folder of its own. Pixels are not changed, which is checked by reading the files again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.containers.inner_files import open_inner_files
from napari_medseg.core.dicom_sharing.basic_profile import EDITION
from napari_medseg.core.dicom_sharing.deidentify import (
    deidentify,
    list_pixel_warnings,
    mark_deidentified,
    read_whole,
    replace_dates,
    write_shared,
)
from napari_medseg.core.dicom_sharing.pseudonyms import Pseudonyms
from napari_medseg.core.errors import MedSegError, look_up, name_problem
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.dicom_source import read_dicom_source
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.label_files.rtstruct_writer import refuse_without_place
from napari_medseg.workflow.output.export import check_exportable
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.output.label_output import describe_labels, write_and_read_back
from napari_medseg.workflow.output.staged_files import is_never_cancelled, raise_if_cancelled
from napari_medseg.workflow.sharing.checksums import CHECKSUMS_FILE, write_checksums
from napari_medseg.workflow.sharing.written_cases import WrittenCases
from napari_medseg.workflow.sharing.written_files import claim_files

LIST_FILE = "shared.json"
SEG_FORMAT, STRUCTURES_FORMAT = "dicom-seg", "rtstruct"
SHARED_FORMATS = {
    SEG_FORMAT: (SEG_FORMAT,),
    STRUCTURES_FORMAT: (STRUCTURES_FORMAT,),
    "both": (SEG_FORMAT, STRUCTURES_FORMAT),
}
"""The formats of the labels by what a person chooses."""


@dataclass(frozen=True)
class _Sharable:
    """A case that can be shared: its number among the cases, and the names of its files from the folder."""

    place: int
    name: str
    images: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All names."""
        return (*self.images, *self.labels)


def share_cases(
    items: Sequence[ExportItem],
    folder: Path,
    pseudonyms: Pseudonyms,
    is_cancelled: Callable[[], bool] = is_never_cancelled,
    labels_as: str = SEG_FORMAT,
) -> WrittenCases:
    """Write accepted cases without identity. It only reads the project's files, so it may run in a worker thread.

    Parameters
    ----------
    items
        From `output.export.read_export_items`, without notes. Each is read twice, to check and to write it.
    folder
        Created if it does not exist. Files of an earlier call are replaced; the same cases give the same bytes.
    pseudonyms
        From `workflow.sharing.uid_map.make_pseudonyms`; keep them with `keep_pseudonyms` afterwards.
    is_cancelled
        Asked before each case.
    labels_as
        A name of `SHARED_FORMATS`.

    Raises
    ------
    MedSegError
        If there is no case, none can be shared, or the folder holds other files of these names.
    """
    wanted = look_up(SHARED_FORMATS, labels_as.lower(), problem=f"labels cannot be shared as {labels_as!r}")
    if not items:
        raise MedSegError("nothing is accepted yet. Accept a case first, then share.")
    shared, entries = WrittenCases(), []
    ready = _find_sharable(items, wanted, shared.refused, is_cancelled)
    if not ready:
        raise MedSegError(f"no case can be shared. {shared.refused[0]}")
    claim_files(folder, [*(name for one in ready for name in one.files), LIST_FILE, CHECKSUMS_FILE])
    for one in ready:
        raise_if_cancelled(is_cancelled)
        try:
            entries.append(_share_case(items[one.place], one, folder, pseudonyms, shared))
        except MedSegError as error:
            shared.refused.append(name_problem(one.name, str(error)))
            for name in one.files:
                (folder / name).unlink(missing_ok=True)
    _write_list(folder, entries)
    shared.files.append(folder / LIST_FILE)
    shared.files.append(write_checksums(folder, shared.files))
    if not entries:
        raise MedSegError(f"no case can be shared. {shared.refused[0]}")
    return shared


def _find_sharable(
    items: Sequence[ExportItem], wanted: Sequence[str], refused: list[str], is_cancelled: Callable[[], bool]
) -> list[_Sharable]:
    """Return the cases that are DICOM and unchanged."""
    ready = []
    for place, item in enumerate(items):
        raise_if_cancelled(is_cancelled)
        try:
            for name in wanted:
                check_exportable(item, name)
            source = read_dicom_source(item.image, "a shared series")
            if STRUCTURES_FORMAT in wanted:
                refuse_without_place(source, item.image)
            ready.append(_name_files(item, place, wanted))
        except MedSegError as error:
            refused.append(name_problem(item.case.name, str(error)))
    return ready


def _name_files(item: ExportItem, place: int, wanted: Sequence[str]) -> _Sharable:
    """Name the files of a case: they name no one, and the task is added, as an image may have several."""
    stem = f"{ImageNamer('group').make_case_name(item.image, item.case).stem}_{item.task.name}"
    images = tuple(f"{stem}/image_{number:04}.dcm" for number in range(1, len(item.image.sources) + 1))
    labels = tuple(f"{stem}/labels{find_label_format(name).suffix}" for name in wanted)
    return _Sharable(place, item.case.name, images, labels)


def _share_case(
    item: ExportItem, names: _Sharable, folder: Path, pseudonyms: Pseudonyms, shared: WrittenCases
) -> dict[str, Any]:
    paths = [folder / name for name in names.images]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    warnings: dict[str, None] = {}
    with open_inner_files(item.image.sources) as sources:
        for source, path in zip(sources, paths, strict=True):
            dataset = read_whole(source)
            warnings |= dict.fromkeys(list_pixel_warnings(dataset))
            write_shared(path, deidentify(dataset, pseudonyms))
    image = _read_again(paths, item.image)
    described = describe_labels(item, "")
    labels_paths = [folder / name for name in names.labels]
    for path in labels_paths:
        write_and_read_back(path, item.labels, image, find_label_format(get_suffix(path)), described)
        _clean_labels(path)
    shared.files.extend([*paths, *labels_paths])
    shared.remarks.extend(f"{item.case.name}: {warning}" for warning in warnings)
    first = dcmread(paths[0], stop_before_pixels=True)
    return {
        "folder": paths[0].parent.name,
        "patient": str(first.PatientID),
        "study": str(first.StudyInstanceUID),
        "series": str(first.SeriesInstanceUID),
        "images": len(paths),
        "labels_file": labels_paths[0].name,
        "labels_files": [path.name for path in labels_paths],
        "task": item.task.name,
        "labels": {str(label.value): label.name for label in item.task.labels},
        "model": item.correction.model or None,
        "who": item.correction.who or None,
        "reviewed_share": 1.0 if item.reviewed_mask is None else round(float(item.reviewed_mask.mean()), 5),
        "warnings": list(warnings),
    }


def _read_again(paths: Sequence[Path], source: Image) -> Image:
    """Read the shared images, in the order and place of the source; refuse if a pixel differs."""
    image = formats.read(paths[0]) if len(paths) == 1 else formats.read_series(paths)
    same_place = (image.affine is None) == (source.affine is None) and (
        image.affine is None or source.affine is None or np.allclose(image.affine, source.affine, atol=1e-6)
    )
    if not same_place or not np.array_equal(image.pixels, source.pixels):
        raise MedSegError(
            "the shared files hold other pixels than the case: its DICOM files have changed since it was labelled. "
            "Put the old files back."
        )
    return replace(image, name=source.name)


def _clean_labels(path: Path) -> None:
    """Remove dates, which the highest profile does not keep, and say that the object names no one."""
    dataset = dcmread(path)
    replace_dates(dataset)
    mark_deidentified(dataset)
    write_shared(path, dataset)


def _write_list(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    content = {
        "content": "DICOM images and labels without identity",
        "profile": f"DICOM PS3.15 {EDITION}, Basic Application Confidentiality Profile; pixels are unchanged",
        "cases": list(entries),
    }
    atomic_write_text(folder / LIST_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
