"""Export of accepted labels on the grid of their source image, with provenance and measurements.

All cases are checked before the first file is written. Each label file is read back and compared before the provenance
is written.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256
from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels, read_roi_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.records import Case, Correction, Prediction, now
from napari_medseg.core.tasks.definitions import Task
from napari_medseg.workflow.cases import list_current_corrections, load_image
from napari_medseg.workflow.workspace import Workspace

PROVENANCE_FILE = "provenance.json"
MEASUREMENTS_FILE = "measurements.csv"
_COLUMNS = (
    *("case", "group", "labels_file", "label", "name", "voxels", "value", "unit"),
    *("objects", "share_of_field", "shares_of_its_parts", "reviewed_share"),
)
_INVALID_NAME_CHARS = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, eq=False)
class ExportItem:
    """One accepted case with its correction, labels and image.

    `labels` are integers on the canonical grid, shape (y, x) or (z, y, x); `task` defines their meaning. `roi` are the
    labels of the region of interest on the same grid; `None` if the model predicts in the whole image. `reviewed_mask`
    is true in the review region; `None` if the whole image was reviewed.
    """

    case: Case
    task: Task
    correction: Correction
    labels: NDArray[Any]
    image: Image
    roi: NDArray[Any] | None = None
    reviewed_mask: NDArray[np.bool_] | None = None


def list_accepted_rows(ws: Workspace, task: str) -> list[tuple[Case, Correction, str]]:
    """Return the accepted cases of a task with their corrections and ROI files. Call it in the main thread."""
    roi_files = {row.case_id: row.field_file for row in ws.project.read_records(Prediction) if row.field_file}
    return [(case, correction, roi_files.get(case.id, "")) for case, correction in list_current_corrections(ws, task)]


def read_export_items(ws: Workspace, rows: Sequence[tuple[Case, Correction, str]]) -> list[ExportItem]:
    """Read the images and labels to export. It only reads files, so it may run in a worker thread."""
    folder = ws.project.folder
    return [
        ExportItem(
            case,
            ws.tasks.get_task(case.task),
            correction,
            read_case_labels(folder, case, correction),
            load_image(ws, case),
            read_roi_labels(folder / roi_file, case) if roi_file else None,
            read_reviewed_pixels(folder, case, correction),
        )
        for case, correction, roi_file in rows
    ]


def export_corrections(items: Sequence[ExportItem], folder: Path, suffix: str, with_images: bool) -> list[Path]:
    """Write accepted labels for other programs.

    Parameters
    ----------
    items
        Cases to export, from `read_export_items`.
    folder
        Created if it does not exist. Cases of an earlier export stay listed in `provenance.json`; an exported case
        replaces its earlier files.
    suffix
        ``".tif"``, ``".nii.gz"``, ``".nii"`` or ``".png"``.
    with_images
        Whether to write the image beside its labels.

    Returns
    -------
    list of Path
        All written files: labels, optional images, masks of partly reviewed images (nonzero = reviewed), then
        `provenance.json` and `measurements.csv`.

    Raises
    ------
    MedSegError
        If there is nothing to export, an image file has changed since it was labelled, a check finds a blocking error
        in labels (swapped sides, unknown values), or the format cannot store them. Then nothing is written.
    """
    if not items:
        raise MedSegError("nothing is accepted yet. Accept a case first, then export.")
    _check_exportable(items, suffix)
    earlier = _read_earlier_entries(folder)
    written: list[Path] = []
    entries: list[dict[str, Any]] = []
    for item, stem in zip(items, _make_file_stems(items, earlier), strict=True):
        files = _make_file_paths(item, folder, stem, suffix, with_images)
        _refuse_foreign_files(files, earlier)
        _write_item_files(item, files)
        if item.reviewed_mask is None:
            _remove_reviewed_file(folder / f"{stem}_reviewed{suffix}", earlier)
        written += files.values()
        entries.append({"stem": stem} | _make_entry(item, files))
    replaced = {entry["labels_file"] for entry in entries}
    entries = [entry for entry in earlier if entry["labels_file"] not in replaced] + entries
    return [*written, _write_provenance(folder, entries), _write_measurements(folder, entries)]


def _check_exportable(items: Sequence[ExportItem], suffix: str) -> None:
    look_up(formats.WRITERS, suffix, problem=f"labels cannot be exported as {suffix!r}")
    problems = []
    for item in items:
        if item.image.adopt_content_hash(item.case.content_hash).content_hash != item.case.content_hash:
            problems.append(f"{item.case.name}: its file changed since it was labelled")
            continue
        findings = check_labels(item.labels, item.task, item.image)
        problems += [f"{item.case.name}: {finding.text}" for finding in findings if finding.blocking]
        if suffix == ".png" and len(item.image.spatial_axes) > 2:
            problems.append(f"{item.case.name}: it is a volume, and PNG holds one plane; choose .tif or .nii.gz")
    if problems:
        raise MedSegError(f"nothing was exported. {'; '.join(problems)}. Correct these cases, or exclude them.")


def _make_file_stems(items: Sequence[ExportItem], earlier: Sequence[dict[str, Any]]) -> list[str]:
    """Return one file stem per case, made from its name. If several images share a name, the image hash is added."""
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in earlier:
        owners[entry["stem"].casefold()].add(entry["content_sha256"])
    names = [_INVALID_NAME_CHARS.sub("_", item.case.name).strip("_.") or "case" for item in items]
    for item, name in zip(items, names, strict=True):
        owners[name.casefold()].add(item.case.content_hash)
    return [
        name if len(owners[name.casefold()]) == 1 else f"{name}_{item.case.content_hash[:8]}"
        for item, name in zip(items, names, strict=True)
    ]


def _make_file_paths(item: ExportItem, folder: Path, stem: str, suffix: str, with_images: bool) -> dict[str, Path]:
    """Return the output paths of a case; the keys are those used in `provenance.json`."""
    wanted = {"labels": True, "image": with_images, "reviewed": item.reviewed_mask is not None}
    return {f"{what}_file": folder / f"{stem}_{what}{suffix}" for what, is_so in wanted.items() if is_so}


def _refuse_foreign_files(files: Mapping[str, Path], earlier: Sequence[dict[str, Any]]) -> None:
    ours = _list_exported_names(earlier)
    for path in files.values():
        if path.exists() and path.name not in ours:
            raise MedSegError(
                f"{path} exists and was not made by an export. Choose another folder; nothing is overwritten."
            )


def _list_exported_names(earlier: Sequence[dict[str, Any]]) -> set[str | None]:
    return {entry.get(kind) for entry in earlier for kind in ("labels_file", "image_file", "reviewed_file")}


def _remove_reviewed_file(path: Path, earlier: Sequence[dict[str, Any]]) -> None:
    """Remove the review mask of an earlier export if the whole image is reviewed now."""
    if path.name in _list_exported_names(earlier):
        path.unlink(missing_ok=True)


def _write_item_files(item: ExportItem, files: Mapping[str, Path]) -> None:
    _write_and_read_back(files["labels_file"], item.labels, item.image)
    if item.reviewed_mask is not None:
        _write_and_read_back(files["reviewed_file"], item.reviewed_mask.astype(np.uint8), item.image)
    if "image_file" in files:
        formats.write_image(files["image_file"], item.image)


def _write_and_read_back(path: Path, labels: NDArray[Any], image: Image) -> None:
    formats.write_labels(path, labels, image)
    if not np.array_equal(formats.read_labels(path, image), labels):
        raise MedSegError(
            f"{path} differs from the data that was written. The disk may be damaged; export to another disk."
        )


def _make_entry(item: ExportItem, files: Mapping[str, Path]) -> dict[str, Any]:
    task, image, correction, labels_path = item.task, item.image, item.correction, files["labels_file"]
    return {
        "case": item.case.name,
        "group": item.case.group,
        "task": task.name,
        "labels_file": labels_path.name,
        "labels_file_sha256": compute_file_sha256(labels_path),
        "image_file": files["image_file"].name if "image_file" in files else None,
        "reviewed_file": files["reviewed_file"].name if "reviewed_file" in files else None,
        "reviewed_share": 1.0 if item.reviewed_mask is None else round(float(item.reviewed_mask.mean()), 5),
        "source_files": [_make_file_entry(path) for path in image.sources],
        "content_sha256": item.case.content_hash,
        "model": correction.model,
        "who": correction.who,
        "accepted": correction.created,
        "seconds": round(correction.seconds, 1),
        "changed_voxels": correction.changed_voxels,
        "labels": {str(label.value): label.name for label in task.labels},
        "grid": {
            "axes": image.spatial_axes,
            "shape": list(image.spatial_shape),
            "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
            "affine_to_ras_mm": None if image.affine is None else image.affine.tolist(),
        },
        "measurements": [
            {
                "label": m.label.value,
                "name": m.label.name,
                "voxels": m.voxels,
                "value": round(m.value, 4),
                "unit": m.unit,
                "objects": m.count,
                "share_of_field": round(m.shares[0][1], 5) if m.shares else None,
                "shares_of_its_parts": "; ".join(f"{name} {share:.5f}" for name, share in m.shares[1:]),
            }
            for m in measure_labels(item.labels, image, task, item.roi)
        ],
    }


def _make_file_entry(path: Path) -> dict[str, str | None]:
    """Return name and hash of a source file; no hash if it is missing and the copy in the project was exported."""
    return {"name": path.name, "sha256": compute_file_sha256(path) if path.is_file() else None}


def _read_earlier_entries(folder: Path) -> list[dict[str, Any]]:
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries: list[dict[str, Any]] = content["cases"]
        known = [entry for entry in entries if entry["stem"] and entry["content_sha256"] and "image_file" in entry]
        return [entry for entry in known if (folder / entry["labels_file"]).exists()]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MedSegError(f"{path} is not of an earlier export: {error}. Choose another folder.") from error


def _write_provenance(folder: Path, entries: list[dict[str, Any]]) -> Path:
    content = {
        "program": f"napari-medseg {version('napari-medseg')}",
        "exported": now(),
        "orientation": "the affine maps the index (z, y, x) of canonical pixels to RAS millimetres; "
        "x grows to the patient's left, y to the back, z to the head",
        "cases": entries,
    }
    path = folder / PROVENANCE_FILE
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def _write_measurements(folder: Path, entries: list[dict[str, Any]]) -> Path:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for entry in entries:
        of_case = {key: entry[key] for key in ("case", "group", "labels_file")}
        of_case["reviewed_share"] = entry.get("reviewed_share", 1.0)  # older exports have no review regions
        table.writerows(of_case | measurement for measurement in entry["measurements"])
    path = folder / MEASUREMENTS_FILE
    atomic_write_text(path, text.getvalue())
    return path
