"""Export of accepted labels on the grid of their source image, with provenance and measurements.

All cases are checked before the first file is written. Each label file is read back and compared before the provenance
is written.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.file_names import PROVENANCE_FILE
from napari_medseg.core.formats.gantry_tilt import is_sheared
from napari_medseg.core.formats.gantry_tilt import straighten as straighten_series
from napari_medseg.core.label_files.registry import find_label_format, find_problem
from napari_medseg.core.project.case_files import read_case_labels, read_roi_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.records import Prediction
from napari_medseg.workflow.cases import list_current_corrections, load_image
from napari_medseg.workflow.output.entries import make_entry, make_file_entry
from napari_medseg.workflow.output.export_plan import (
    ExportCase,
    ExportItem,
    ExportPlan,
    Row,
    describe_case,
    plan_files,
    refuse_foreign_files,
)
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.output.label_output import describe_labels, write_and_read_back
from napari_medseg.workflow.output.measurement_table import MEASUREMENTS_FILE, write_measurements
from napari_medseg.workflow.output.notes import NO_NOTES, NotesToExport
from napari_medseg.workflow.output.provenance import (
    Entry,
    Provenance,
    make_unfinished_entry,
    read_provenance,
    remove_temporary_files,
    write_provenance,
)
from napari_medseg.workflow.output.staged_files import (
    ExportCancelled,
    describe_cancelled,
    is_never_cancelled,
    raise_if_cancelled,
    stage_files,
)
from napari_medseg.workflow.output.stored_items import StoredItems
from napari_medseg.workflow.workspace import Workspace


def list_accepted_rows(ws: Workspace, task: str) -> list[Row]:
    """Return the accepted cases of a task with their corrections and ROI files. Call it in the main thread."""
    roi_files = {row.case_id: row.field_file for row in ws.project.read_records(Prediction) if row.field_file}
    return [(case, correction, roi_files.get(case.id, "")) for case, correction in list_current_corrections(ws, task)]


def read_export_items(
    ws: Workspace,
    rows: Sequence[Row],
    is_cancelled: Callable[[], bool] = is_never_cancelled,
    notes: NotesToExport = NO_NOTES,
) -> StoredItems:
    """Return the images and labels to export, each of which is read when it is needed.

    That only reads files, so it may be in a worker thread. `notes` are from `output.notes.read_notes_to_export`, in the
    main thread; by default no note is exported.

    Raises `ExportCancelled` soon after `is_cancelled` has become true.
    """
    raise_if_cancelled(is_cancelled)
    return StoredItems(rows, lambda row: read_export_item(ws, row, notes), is_cancelled)


def read_export_item(ws: Workspace, row: Row, notes: NotesToExport = NO_NOTES) -> ExportItem:
    """Read one of them."""
    folder, (case, correction, roi_file) = ws.project.folder, row
    return ExportItem(
        case,
        ws.tasks.get_task(case.task),
        correction,
        read_case_labels(folder, case, correction),
        load_image(ws, case),
        read_roi_labels(folder / roi_file, case) if roi_file else None,
        read_reviewed_pixels(folder, case, correction),
        notes.notes.get(case.id, ()),
    )


def export_corrections(
    items: Sequence[ExportItem],
    folder: Path,
    suffix: str,
    with_images: bool,
    namer: ImageNamer | None = None,
    *,
    straighten: bool = False,
    is_cancelled: Callable[[], bool] = is_never_cancelled,
) -> list[Path]:
    """Write accepted labels for other programs.

    Parameters
    ----------
    items
        Cases to export, from `read_export_items`. Each is read twice, to check and to write it, and one at a time. A
        case whose image or labels are missing or damaged is left out, and `items.left_out` says so.
    folder
        Created if it does not exist. Cases of an earlier export stay listed in `provenance.json`; an exported case
        replaces its earlier files. An export that was interrupted can be repeated.
    suffix
        Name or suffix of one of `core.label_files.registry.LABEL_FORMATS`, such as ``"dicom-seg"`` or ``".nii.gz"``.
    with_images
        Whether to write the image beside its labels.
    namer
        Names the files; by default after the number of the case, such as ``patient-12_case-3``, which names no one.
    straighten
        Whether to write a series with gantry tilt on an upright grid, see `formats.gantry_tilt`.
    is_cancelled
        Asked before and after each file. The files of a case appear together when all are written.

    Returns
    -------
    list of Path
        All written files: labels, optional images, masks of partly reviewed images (nonzero = reviewed), then
        `provenance.json` and `measurements.csv`.

    Raises
    ------
    MedSegError
        If there is nothing to export, or nothing of it can be read, an image file has changed since it was labelled, a
        check finds a blocking error in labels (swapped sides, unknown values), or the format cannot store them. Then
        nothing is written.
    ExportCancelled
        If `is_cancelled` became true. Complete cases stay, are listed as after any export, and are named in the text;
        of the others nothing is left, and their files of an earlier export are unchanged.
    """
    if not items:
        raise MedSegError("nothing is accepted yet. Accept a case first, then export.")
    namer = namer or ImageNamer("group")
    cases = _check_and_describe(items, suffix, namer, is_cancelled)
    earlier = read_provenance(folder)
    plans = plan_files(cases, folder, suffix, with_images, namer, earlier)
    refuse_foreign_files(plans, items, earlier)
    return _write_plans(plans, items, folder, earlier, namer.naming, straighten=straighten, is_cancelled=is_cancelled)


def _check_and_describe(
    items: Sequence[ExportItem],
    suffix: str,
    namer: ImageNamer,
    is_cancelled: Callable[[], bool],
) -> list[ExportCase]:
    """Check all cases, one after the other; errors as of `check_exportable`. Those that cannot be read are left out."""
    cases, problems = [], []
    left_out = items.left_out if isinstance(items, StoredItems) else []
    for place in range(len(items)):
        raise_if_cancelled(is_cancelled)
        try:
            with translate_errors():
                item = items[place]
        except ExportCancelled:
            raise
        except MedSegError as error:
            left_out.append(str(error))
            continue
        found = _find_problems(item, suffix)
        problems += found
        if not found:
            cases.append(describe_case(item, place, suffix, namer))
    _refuse(problems)
    if not cases:
        raise MedSegError(f"nothing was exported, as no case can be read: {left_out[0]}")
    return cases


def _write_plans(
    plans: Sequence[ExportPlan],
    items: Sequence[ExportItem],
    folder: Path,
    earlier: Provenance,
    naming: str,
    *,
    straighten: bool,
    is_cancelled: Callable[[], bool],
) -> list[Path]:
    """Write all files; until the end they are listed as unfinished, so that an interrupted export can be repeated."""
    is_new = not folder.exists()
    begun = [make_unfinished_entry(plan.stem, plan.owner, plan.files) for plan in plans]
    kept = earlier.without(begun)
    write_provenance(folder, kept.cases, [*kept.unfinished, *begun], earlier.rejected)
    written: list[Path] = []
    entries: list[Entry] = []
    with contextlib.suppress(ExportCancelled):
        for plan in plans:
            lies_on_series = find_label_format(plan.label_format).names_patient  # whose slices cannot be moved
            source = items[plan.of.place]
            item = _straighten(source) if straighten and not lies_on_series else source
            with stage_files(plan.files) as staged:
                _write_item_files(item, plan, staged, is_cancelled)
            if item.reviewed_mask is None:
                _remove_reviewed_file(plan, earlier)
            written += plan.files.values()
            sources = [make_file_entry(path, is_named=naming == "stem") for path in source.image.sources]
            made = make_entry(item, plan, source.image)
            entries.append({"stem": plan.stem, "naming": naming} | made | {"source_files": sources})
    if earlier.unfinished:
        remove_temporary_files(folder)
    kept = earlier.without(entries)
    lists = _write_lists(folder, replace(kept, cases=kept.cases + entries), is_new=is_new)
    if len(entries) < len(plans):
        raise ExportCancelled(describe_cancelled([entry["stem"] for entry in entries], len(plans), folder))
    return [*written, *lists]


def _write_lists(folder: Path, listed: Provenance, *, is_new: bool) -> list[Path]:
    """Write provenance and measurements; if nothing is listed, leave neither them nor a folder that is new."""
    if listed.known:
        provenance = write_provenance(folder, listed.cases, listed.unfinished, listed.rejected)
        return [provenance, write_measurements(folder, listed.cases)]
    for name in (PROVENANCE_FILE, MEASUREMENTS_FILE):
        (folder / name).unlink(missing_ok=True)
    if is_new:
        with contextlib.suppress(OSError):  # not if another program has put a file there
            folder.rmdir()
    return []


def check_exportable(item: ExportItem, suffix: str) -> None:
    """Raise `MedSegError` if an image changed since it was labelled, or labels are wrong or do not fit the format."""
    _refuse(_find_problems(item, suffix))


def _find_problems(item: ExportItem, suffix: str) -> list[str]:
    name = item.case.name
    if item.image.adopt_content_hash(item.case.content_hash).content_hash != item.case.content_hash:
        return [f"{name}: its file changed since it was labelled"]
    findings = check_labels(item.labels, item.task, item.image)
    problems = [f"{name}: {finding.text}" for finding in findings if finding.blocking]
    if problem := find_problem(find_label_format(suffix), item.image):
        problems.append(f"{name}: {problem}")
    return problems


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise MedSegError(f"nothing was exported. {'; '.join(problems)}. Correct these cases, or exclude them.")


def _straighten(item: ExportItem) -> ExportItem:
    """Return a tilted series on an upright grid; any other item unchanged."""
    if not is_sheared(item.image.affine) or len(item.image.spatial_axes) != 3:
        return item
    layers = [layer for layer in (item.labels, item.roi, item.reviewed_mask) if layer is not None]
    image, moved = straighten_series(item.image, layers)
    labels, *others = moved
    roi = None if item.roi is None else others.pop(0)
    return replace(item, image=image, labels=labels, roi=roi, reviewed_mask=others.pop(0) if others else None)


def _remove_reviewed_file(plan: ExportPlan, earlier: Provenance) -> None:
    """Remove the review mask of an earlier export if the whole image is reviewed now."""
    labels_path = plan.files["labels_file"]
    path = labels_path.with_name(f"{plan.stem}_reviewed{plan.of.image_suffix}")
    if earlier.lists(path):
        path.unlink(missing_ok=True)


def _write_item_files(
    item: ExportItem, plan: ExportPlan, files: Mapping[str, Path], is_cancelled: Callable[[], bool]
) -> None:
    raise_if_cancelled(is_cancelled)
    described = describe_labels(item, plan.files.get("image_file", Path(plan.stem)).name)
    write_and_read_back(files["labels_file"], item.labels, item.image, find_label_format(plan.label_format), described)
    raise_if_cancelled(is_cancelled)
    if item.reviewed_mask is not None:
        mask_format = find_label_format(formats.get_suffix(files["reviewed_file"]))
        write_and_read_back(
            files["reviewed_file"], item.reviewed_mask.astype(np.uint8), item.image, mask_format, described
        )
    if "image_file" in files:
        formats.write_image(files["image_file"], item.image)
    raise_if_cancelled(is_cancelled)
