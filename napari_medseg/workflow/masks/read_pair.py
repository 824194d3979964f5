"""Read an image and its mask, and make labels of the mask on the grid of the image. No database is used."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import count_dicom_values, find_label_class
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskPlacement
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.label_names import find_label
from napari_medseg.workflow.masks.meaning import AS_THE_TASK, MaskMeaning, choose_meaning, list_labels
from napari_medseg.workflow.masks.pairs import LabelFolder, MaskPair
from napari_medseg.workflow.masks.resampling import resample_mask
from napari_medseg.workflow.masks.value_names import describe_missing_lobes, read_value_names
from training.from_folders.mask_files import MaskFile
from training.from_folders.mask_reading import convert_to_labels, read_mask_labels
from training.from_folders.mask_values import MaskEncoding, number_objects

_REMARKABLE = ("empty", "full")


@dataclass(frozen=True)
class MaskSettings:
    """How masks are read.

    Parameters
    ----------
    task
        The task of the labels.
    meaning
        What the values mean, as a person says; `None`: as names in the files say, else the values of the task.
    placement
        How masks lie that do not say so.
    resamples
        Whether a mask on another grid is resampled; else it is refused.
    second_reader
        Name of the person whose second reading of accepted cases the masks are; empty if they are none.
    """

    task: Task
    meaning: MaskMeaning | None = None
    placement: MaskPlacement = AS_STATED
    resamples: bool = False
    second_reader: str = field(default="", repr=False)

    @property
    def is_second(self) -> bool:
        """Whether the masks are second readings."""
        return bool(self.second_reader)

    def describe(self) -> str:
        """Return all settings as text: with equal settings, a mask gives equal labels."""
        meaning = "" if self.meaning is None else self.meaning.model_dump_json()
        place = f"{self.placement.orientation} {self.placement.same_voxels}"
        reading = " second reading" if self.is_second else ""  # other masks have the hash that they always had
        return f"{self.task.name} {self.task.labels} {meaning} {place} {self.resamples}{reading}"


@dataclass(frozen=True, eq=False)
class ReadMask:
    """Labels made of a mask.

    Parameters
    ----------
    labels
        Integers on the canonical grid of the image, (y, x) or (z, y, x).
    meaning
        What the values were taken to mean, as text.
    how
        What else was done, as text; empty if nothing.
    notes
        Remarks for the user, one sentence each.
    """

    labels: NDArray[Any]
    meaning: str
    how: str = ""
    notes: tuple[str, ...] = ()


def read_pair(pair: MaskPair, settings: MaskSettings) -> tuple[Image, ReadMask]:
    """Read an image and its mask; errors as of `read_mask_of`, or if the image cannot be read."""
    image = pair.read_image()
    return image, read_mask_of(image, pair.mask, settings)


def read_mask_of(image: Image, mask: MaskFile | LabelFolder, settings: MaskSettings) -> ReadMask:
    """Make labels of a mask on the grid of an image.

    Raises
    ------
    MedSegError
        If the mask cannot be read, a value is no label, or the labels are wrong (sides swapped).
        `GridMismatchError` or `HeaderMismatchError` if it has another grid and is not resampled.
    """
    read = _read_folder(image, mask, settings) if isinstance(mask, LabelFolder) else _read_file(image, mask, settings)
    findings = check_labels(read.labels, settings.task, image)
    if blocking := [finding.text for finding in findings if finding.blocking]:
        raise MedSegError(f"{mask.title} cannot be used as labels of {image.name}: {'; '.join(blocking)}.")
    remarks = tuple(finding.text for finding in findings if finding.kind in _REMARKABLE)
    return ReadMask(read.labels, read.meaning, read.how, (*read.notes, *remarks))


def count_values(path: Path) -> dict[int, int]:
    """Return the number of voxels of each value of a mask file except 0, by value.

    Raises
    ------
    MedSegError
        If the file cannot be read, or holds fractions.
    """
    if find_label_class(path):
        return count_dicom_values(path)
    total: Counter[int] = Counter()
    for plane in np.atleast_3d(formats.read_mask_image(path).pixels):  # in parts: sorting a large volume takes seconds
        values, counts = np.unique(plane, return_counts=True)
        if not np.array_equal(values, np.rint(values)):
            raise MedSegError(f"{path.name} holds fractions; the values of a mask are whole numbers. Export labels.")
        total.update({int(value): int(count) for value, count in zip(values, counts, strict=True)})
    return {value: count for value, count in sorted(total.items()) if value}


def _read_file(image: Image, mask: MaskFile, settings: MaskSettings) -> ReadMask:
    task = settings.task
    names = {} if mask.has_outlines or settings.meaning is not None else read_value_names(mask.path)
    meaning = AS_THE_TASK if mask.has_outlines else choose_meaning(task, names, settings.meaning)
    encoding = meaning.make_encoding(task, settings.placement)
    text = "outlines by category" if mask.has_outlines else meaning.describe(task)
    labels, how, notes = _read_on_grid(image, mask, encoding, resamples=settings.resamples)
    lacking = "" if task.instances else describe_missing_lobes(names.values(), task)
    return ReadMask(labels, text, how, (*notes, lacking) if lacking else notes)


def _read_folder(image: Image, folder: LabelFolder, settings: MaskSettings) -> ReadMask:
    """Join the files of a folder whose names are labels of the task."""
    task = settings.task
    label_of = {path: label for name, path in folder.named_files if (label := find_label(name, task)) is not None}
    if not label_of:
        files = ", ".join(name for name, _ in folder.named_files[:4])
        raise MedSegError(
            f"no file in {folder.title} is named after a label of {task.title} ({list_labels(task)}): {files}. Rename "
            "the files, or choose another task."
        )
    labels = np.zeros(image.spatial_shape, np.min_scalar_type(task.n_classes - 1))
    n_doubled, notes, how = 0, list[str](), ""
    for path, value in label_of.items():
        one = MaskEncoding(_keep_one_label(task, value), binarise=True, placement=settings.placement)
        drawn, how_one, remarks = _read_on_grid(image, MaskFile(path), one, resamples=settings.resamples)
        n_doubled += int(np.count_nonzero((labels != value) & (labels > 0) & (drawn > 0)))
        labels[drawn > 0] = value
        notes += [remark for remark in remarks if remark not in notes]
        how = how or how_one
    if lacking := describe_missing_lobes([name for name, path in folder.named_files if path in label_of], task):
        notes.append(lacking)
    if n_doubled:
        notes.append(f"{n_doubled:,} voxels have several labels; the last file by name was taken")
    if task.instances:
        labels = number_objects(labels)
    used = ", ".join(
        f"{path.relative_to(folder.path)} {task.get_label_name(value)}" for path, value in label_of.items()
    )
    return ReadMask(labels, f"files {used}", how, tuple(notes))


def _read_on_grid(
    image: Image, mask: MaskFile, encoding: MaskEncoding, *, resamples: bool
) -> tuple[NDArray[Any], str, tuple[str, ...]]:
    """Return the labels of a mask file, how it was resampled (empty if it was not), and remarks."""
    try:
        labels, placed = read_mask_labels(mask, image, encoding)
    except (GridMismatchError, HeaderMismatchError):
        if not resamples or mask.has_outlines:
            raise
        values, how = resample_mask(formats.read_mask_image(mask.path), image)
        return convert_to_labels(mask, values, encoding), how, (how,)
    return labels, "", placed.notes


def _keep_one_label(task: Task, value: int) -> Task:
    return replace(task, labels=tuple(label for label in task.labels if label.value == value), sides=None)
