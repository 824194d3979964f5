"""Write a data set: every case is checked before the first file is written, and one after the other is in memory."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, name_problem, translate_errors
from napari_medseg.core.quality.measurements import measure_labels
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.workflow.data_set.card import (
    CARD_FILE,
    README_FILE,
    CardCase,
    DataCard,
    describe_sizes,
    write_data_card,
)
from napari_medseg.workflow.data_set.layouts import Layout, PlacedCase, find_layout, list_kinds
from napari_medseg.workflow.data_set.plan import choose_folds, leave_out_copies, list_consecutive_values, plan_case
from napari_medseg.workflow.output.export import check_exportable
from napari_medseg.workflow.output.export_plan import ExportItem, Row
from napari_medseg.workflow.output.staged_files import is_never_cancelled, raise_if_cancelled
from napari_medseg.workflow.sharing.checksums import CHECKSUMS_FILE, write_checksums
from napari_medseg.workflow.sharing.written_cases import WrittenCases
from napari_medseg.workflow.sharing.written_files import claim_files

SPLIT_FILE = "split.csv"
NO_LICENCE = "not stated"
Reader = Callable[[Row], ExportItem]


def write_data_set(
    rows: Sequence[Row],
    read: Reader,
    project_folder: Path,
    folder: Path,
    layout_name: str,
    licence: str = "",
    is_cancelled: Callable[[], bool] = is_never_cancelled,
) -> WrittenCases:
    """Write corrections as a data set.

    Parameters
    ----------
    rows
        Accepted cases of one task, from `output.export.list_accepted_rows`.
    read
        Reads one of them; it is called twice for each, and may run in a worker thread.
    project_folder
        Where the project lies: training images that the hold-out shows, too, are left out.
    folder
        Created if it does not exist. Files of an earlier call are replaced; the same cases give the same bytes.
    layout_name
        A name of `layouts.LAYOUTS`.
    licence
        Of images and labels, for the card.
    is_cancelled
        Asked before each case.

    Raises
    ------
    MedSegError
        If there is no case, no case fits the layout, or the folder holds other files of these names.
    """
    layout = find_layout(layout_name)
    if not rows:
        raise MedSegError("nothing is accepted yet. Accept a case first, then write the data set.")
    rows, refused = leave_out_copies(project_folder, rows)
    placed, task = _plan(rows, read, layout, refused, is_cancelled)
    if not placed or task is None:
        raise MedSegError(f"no case fits the layout {layout.name}. {refused[0]}")
    lists = [*layout.lists, SPLIT_FILE, CARD_FILE, README_FILE, CHECKSUMS_FILE]
    claim_files(folder, [*(name for case in placed for name in case.files), *lists])
    for name in lists:  # until all is written, no list of an earlier call says what the files are
        (folder / name).unlink(missing_ok=True)
    ignored = 0
    if any(case.plan.is_partly_reviewed for case in placed):
        ignored = 2 if task.instances else len(task.labels) + 1
    described = []
    for case in placed:
        raise_if_cancelled(is_cancelled)
        described.append(_write_case(folder, read(case.plan.row), case, layout, ignored))
    told = layout.write_lists(folder, task, placed, licence.strip() or NO_LICENCE)
    _write_split(folder, placed)
    write_data_card(folder, _make_card(layout, task, licence, described, told), layout.title)
    names = [*(name for case in placed for name in case.files), *lists[:-1]]
    files = [folder / name for name in names if (folder / name).exists()]
    return WrittenCases([*files, write_checksums(folder, files)], told, refused)


def _make_card(layout: Layout, task: Task, licence: str, cases: Sequence[CardCase], remarks: Sequence[str]) -> DataCard:
    return DataCard(
        layout=layout.name,
        task=task.name,
        own_task=None if task.name in TASKS else task,
        labels={str(label.value): label.name for label in task.labels},
        licence=licence.strip() or NO_LICENCE,
        cases=tuple(cases),
        remarks=tuple(remarks),
    )


def _plan(
    rows: Sequence[Row], read: Reader, layout: Layout, refused: list[str], is_cancelled: Callable[[], bool]
) -> tuple[list[PlacedCase], Task | None]:
    """Read and check each case, choose folds and names; add to `refused` why a case is left out."""
    found: list[PlacedCase] = []
    task = None
    for row in rows:
        raise_if_cancelled(is_cancelled)
        try:
            with translate_errors():
                item = read(row)
                check_exportable(item, ".nii.gz")
                found.append(layout.place(plan_case(item, row), item.task))
                task = item.task
        except MedSegError as error:
            refused.append(name_problem(row[0].name, str(error)))
    if layout.is_semantic and found:
        found = _keep_one_kind(found, layout, refused)
    folds = choose_folds([case.plan.case for case in found])
    return [_give_fold(case, folds.get(case.plan.case.group)) for case in found], task


def _give_fold(case: PlacedCase, fold: int | None) -> PlacedCase:
    return case if case.plan.is_held_out else replace(case, plan=replace(case.plan, fold=fold))


def _keep_one_kind(found: list[PlacedCase], layout: Layout, refused: list[str]) -> list[PlacedCase]:
    """Leave out the cases that are not of the most frequent kind: nnU-Net has one kind of images in a data set."""
    kinds = list_kinds([case.plan for case in found])
    (usual, _), *others = Counter(kinds).most_common()
    if others:
        names = {(True, False): "volumes", (False, False): "grey planes", (False, True): "planes in colours"}
        refused += [
            f"{case.plan.case.name}: it differs from the {names[usual]} of this data set, and {layout.title} has one "
            "kind of images. Choose folders."
            for case, kind in zip(found, kinds, strict=True)
            if kind != usual
        ]
    return [case for case, kind in zip(found, kinds, strict=True) if kind == usual]


def _write_case(folder: Path, item: ExportItem, case: PlacedCase, layout: Layout, ignored: int) -> CardCase:
    """Write the files of a case and return what the card says about it."""
    for name in case.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    formats.write_image(folder / case.image, item.image)
    labels = _convert_labels(item, ignored) if layout.is_semantic else item.labels
    _write_checked(folder / case.labels, labels, item)
    if case.original:
        _write_checked(folder / case.original, item.labels, item)
    if case.reviewed and item.reviewed_mask is not None:
        _write_checked(folder / case.reviewed, item.reviewed_mask.astype(np.uint8), item)
    return _describe_case(item, case)


def _convert_labels(item: ExportItem, ignored: int) -> NDArray[np.uint8]:
    """Return values that follow each other; objects are 1, and what nobody reviewed is `ignored`."""
    if item.task.instances:
        labels: NDArray[np.uint8] = (item.labels > 0).astype(np.uint8)
    else:
        labels = np.zeros(item.labels.shape, np.uint8)
        for value, number in list_consecutive_values(item.task).items():
            labels[item.labels == value] = number
    if item.reviewed_mask is not None:
        labels[~item.reviewed_mask] = ignored
    return labels


def _write_checked(path: Path, labels: NDArray[Any], item: ExportItem) -> None:
    formats.write_labels(path, labels, item.image)
    if not np.array_equal(formats.read_labels(path, item.image, expected_shape=item.image.spatial_shape), labels):
        raise MedSegError(f"{path} differs from the data that was written. The disk may be damaged; use another disk.")


def _describe_case(item: ExportItem, case: PlacedCase) -> CardCase:
    image, correction = item.image, item.correction
    return CardCase(
        name=case.plan.name,
        group=item.case.group,
        held_out=item.case.held_out,
        fold=case.plan.fold,
        image=case.image,
        labels=case.exact_labels,
        reviewed=case.reviewed,
        axes=image.axes,
        shape=image.pixels.shape,
        spacing_mm=image.spacing_mm,
        modality=image.modality,
        content_sha256=item.case.content_hash,
        model=correction.model or None,
        who=correction.who or None,
        accepted=correction.created,
        sizes=describe_sizes(measure_labels(item.labels, image, item.task)),
    )


def _write_split(folder: Path, cases: Sequence[PlacedCase]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "group", "set", "fold", "image", "labels"])
    for case in cases:
        side = "test" if case.plan.is_held_out else "train"
        fold = "" if case.plan.fold is None else case.plan.fold
        table.writerow([case.plan.name, case.plan.case.group, side, fold, case.image, case.labels])
    atomic_write_text(folder / SPLIT_FILE, text.getvalue())
