"""The layouts of data sets: where the files of a case lie, and which lists other programs read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.data_set.coco_lists import write_coco_lists
from napari_medseg.workflow.data_set.plan import PlannedCase
from napari_medseg.workflow.data_set.training_lists import write_monai_list, write_nnunet_lists

ListWriter = Callable[[Path, Task, Sequence["PlacedCase"], str], list[str]]
ORIGINALS = "labels_as_corrected"
"""Folder of exact labels, for cases whose labels the layout cannot hold."""
_PNG_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


@dataclass(frozen=True)
class PlacedCase:
    """A case with the names of its files, with slashes, from the folder of the data set.

    `labels` are those that other programs read; `original` has the exact ones, if they are others.
    """

    plan: PlannedCase
    image: str
    labels: str
    reviewed: str | None = None
    original: str | None = None

    @property
    def files(self) -> list[str]:
        """All names."""
        return [name for name in (self.image, self.labels, self.reviewed, self.original) if name]

    @property
    def exact_labels(self) -> str:
        """The file with the labels of the correction."""
        return self.original or self.labels


@dataclass(frozen=True)
class Layout:
    """One layout.

    Parameters
    ----------
    name, title
        What a person types; text in messages.
    place
        Names the files of a case.
    lists
        Names of the lists that `write_lists` writes.
    write_lists
        Writes them, and returns remarks about what the lists do not hold.
    is_semantic
        Whether labels have values that follow each other, unreviewed pixels are marked, and objects have no numbers.
    """

    name: str
    title: str
    place: Callable[[PlannedCase, Task], PlacedCase]
    lists: tuple[str, ...]
    write_lists: ListWriter
    is_semantic: bool = False


def find_layout(name: str) -> Layout:
    """Return a layout by its name; the error lists the choices."""
    return look_up(LAYOUTS, name.lower(), problem=f"a data set cannot be written as {name!r}")


def _place_nnunet(case: PlannedCase, task: Task) -> PlacedCase:
    _refuse_series(case)
    if case.is_volume and case.is_colour:
        raise MedSegError("it is a volume in colours, which nnU-Net does not read. Choose folders.")
    suffix = ".png" if case.is_colour else ".nii.gz"
    side = "Ts" if case.is_held_out else "Tr"
    values = [label.value for label in task.labels]
    is_other = task.instances or case.is_partly_reviewed or values != list(range(1, len(values) + 1))
    return PlacedCase(
        case,
        f"images{side}/{case.name}_0000{suffix}",
        f"labels{side}/{case.name}{suffix}",
        f"reviewed/{case.name}{suffix}" if case.is_partly_reviewed else None,
        f"{ORIGINALS}/{case.name}{_choose_label_suffix(case, suffix)}" if is_other else None,
    )


def _place_monai(case: PlannedCase, task: Task) -> PlacedCase:
    _refuse_series(case)
    return _place_in(case, "labels", ".png" if case.is_colour and not case.is_volume else ".nii.gz")


def _place_folders(case: PlannedCase, task: Task) -> PlacedCase:
    is_picture = not case.is_volume and case.dtype in _PNG_TYPES
    return _place_in(case, "masks", ".png" if is_picture else ".tif" if case.is_colour else ".nii.gz")


def _place_coco(case: PlannedCase, task: Task) -> PlacedCase:
    _refuse_series(case)
    if case.is_volume:
        raise MedSegError("it is a volume, and COCO holds planes. Choose nnunet, monai or folders.")
    return _place_in(case, "masks", ".png" if case.dtype in _PNG_TYPES else ".tif")


def _refuse_series(case: PlannedCase) -> None:
    if case.is_series:
        raise MedSegError(
            "it is a series of frames of a video: its third axis is the time, and it is no volume. Choose folders, or "
            "write its frames as planes: medseg video export."
        )


def _place_in(case: PlannedCase, folder: str, suffix: str) -> PlacedCase:
    if case.is_volume and case.is_colour and suffix == ".nii.gz":
        raise MedSegError("it is a volume in colours. Choose folders.")
    of_labels = _choose_label_suffix(case, suffix)
    reviewed = f"reviewed/{case.name}{suffix}" if case.is_partly_reviewed else None
    return PlacedCase(case, f"images/{case.name}{suffix}", f"{folder}/{case.name}{of_labels}", reviewed)


def _choose_label_suffix(case: PlannedCase, suffix: str) -> str:
    """Return the suffix of labels: TIFF where PNG cannot hold their numbers."""
    return ".tif" if suffix == ".png" and case.largest_value > np.iinfo(np.uint16).max else suffix


def _write_no_list(folder: Path, task: Task, cases: Sequence[PlacedCase], licence: str) -> list[str]:
    return []


_LAYOUTS = (
    Layout("nnunet", "nnU-Net", _place_nnunet, ("dataset.json", "splits_final.json"), write_nnunet_lists, True),
    Layout("monai", "MONAI datalist", _place_monai, ("dataset.json",), write_monai_list),
    Layout("folders", "images and masks", _place_folders, (), _write_no_list),
    Layout(
        "coco",
        "COCO",
        _place_coco,
        tuple(f"annotations/instances_{side}.json" for side in ("train", "val", "test")),
        write_coco_lists,
    ),
)
LAYOUTS: dict[str, Layout] = {one.name: one for one in _LAYOUTS}
"""By name."""


def list_kinds(cases: Sequence[PlannedCase]) -> list[Any]:
    """Return the kind of each case (volume or plane, colour or grey): nnU-Net needs one kind."""
    return [(case.is_volume, case.is_colour) for case in cases]
