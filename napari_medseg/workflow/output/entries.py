"""The entry of one exported case in `provenance.json`."""

from functools import lru_cache
from pathlib import Path

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.containers.part_paths import find_inner_path
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.records import Correction
from napari_medseg.workflow.output.export_plan import ExportItem, ExportPlan
from napari_medseg.workflow.output.label_output import list_remarks
from napari_medseg.workflow.output.notes import describe_notes
from napari_medseg.workflow.output.provenance import Entry, describe_grid


def make_entry(item: ExportItem, plan: ExportPlan, source: Image) -> Entry:
    """Return what is known of an exported case, whose files are written; `source` is its image before straightening."""
    task, image, correction, files = item.task, item.image, item.correction, plan.files
    labels_path = files["labels_file"]
    return {
        "case": plan.of.name.case,
        "group": plan.of.name.group,
        "task": task.name,
        "labels_file": labels_path.name,
        "labels_file_sha256": compute_file_sha256(labels_path),
        "image_file": files["image_file"].name if "image_file" in files else None,
        "reviewed_file": files["reviewed_file"].name if "reviewed_file" in files else None,
        "reviewed_share": 1.0 if item.reviewed_mask is None else round(float(item.reviewed_mask.mean()), 5),
        "content_sha256": item.case.content_hash,
        "model": correction.model,
        "adapted": _describe_adapted(correction),
        "predicted_on": correction.device or None,
        "predicted_with": correction.runtime or None,
        "imported_from_mask": correction.imported or None,
        "who": correction.who,
        "accepted": correction.created,
        "seconds": round(correction.seconds, 1),
        "changed_voxels": correction.changed_voxels,
        **describe_notes(item.notes),
        "labels": {str(label.value): label.name for label in task.labels},
        "grid": {
            "axes": image.spatial_axes,
            "shape": list(image.spatial_shape),
            "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
            "affine_to_ras_mm": None if image.affine is None else image.affine.tolist(),
            "remarks": [
                *describe_grid(image, source, labels_path.name),
                *list_remarks(item, find_label_format(plan.label_format)),
            ],
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


def _describe_adapted(correction: Correction) -> dict[str, object] | None:
    """Return which state of the model made the draft (learning at Accept); `None` if the version itself did."""
    if not correction.adapted_sha256:
        return None
    return {"weights_sha256": correction.adapted_sha256, "corrections": list(correction.adapted_corrections)}


def make_file_entry(path: Path, *, is_named: bool) -> dict[str, str | None]:
    """Return the hash of a source file, and its name if the user names files so.

    A file in an archive, or a part of a file, has the hash of the archive or file. There is no hash if the file is
    missing and the copy in the project was exported.
    """
    name: dict[str, str | None] = {"name": path.name} if is_named else {}
    inner = find_inner_path(path)
    file = path if inner is None else inner.file
    if not file.is_file():
        return name | {"sha256": None}
    state = file.stat()
    return name | {"sha256": _compute_sha256_once(file, state.st_size, state.st_mtime_ns)}


@lru_cache(maxsize=256)
def _compute_sha256_once(path: Path, _n_bytes: int, _changed_ns: int) -> str:
    """Return the hash of a file; for the hundreds of fields of a slide or frames of a video, it is computed once."""
    return compute_file_sha256(path)
