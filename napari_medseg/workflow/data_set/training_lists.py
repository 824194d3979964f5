"""The lists of nnU-Net (raw, version 2) and of MONAI (datalist of the Medical Segmentation Decathlon, with folds)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.data_set.plan import list_consecutive_values

if TYPE_CHECKING:
    from napari_medseg.workflow.data_set.layouts import PlacedCase

IGNORE = "ignore"
_ONE_GROUP = "There is one group to train on, so no split into training and validation is written."


def write_nnunet_lists(folder: Path, task: Task, cases: "Sequence[PlacedCase]", licence: str) -> list[str]:
    """Write `dataset.json`, and `splits_final.json` with one fold for each group or set of groups.

    https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
    """
    trained = [case for case in cases if not case.plan.is_held_out]
    values = list_consecutive_values(task)
    labels: dict[str, int] = {"background": 0} | {label.name: values[label.value] for label in task.labels}
    remarks = []
    if task.instances:
        labels = {"background": 0, task.labels[0].name: 1}
        remarks.append("nnU-Net has no numbers of objects: touching objects are one region in its labels.")
    if any(case.plan.is_partly_reviewed for case in cases):
        labels[IGNORE] = len(labels)
        remarks.append(f"Pixels that nobody reviewed have the value {labels[IGNORE]} ({IGNORE}): nnU-Net skips them.")
    plan = cases[0].plan
    content: dict[str, Any] = {
        "name": task.name,
        "description": task.title,
        "channel_names": _name_channels(plan.is_colour, plan.units, plan.modality),
        "labels": labels,
        "numTraining": len(trained),
        "file_ending": ".png" if plan.is_colour else ".nii.gz",
        "licence": licence,
    }
    _write_json(folder / "dataset.json", content)
    splits = _split(trained)
    if splits:
        _write_json(folder / "splits_final.json", splits)
    else:
        remarks.append(_ONE_GROUP)
    return remarks


def write_monai_list(folder: Path, task: Task, cases: "Sequence[PlacedCase]", licence: str) -> list[str]:
    """Write `dataset.json`: the list ``training`` with folds, and ``testing``; names are relative to the folder."""
    trained = [case for case in cases if not case.plan.is_held_out]
    has_folds = all(case.plan.fold is not None for case in trained)
    plan = cases[0].plan
    content: dict[str, Any] = {
        "name": task.name,
        "description": task.title,
        "licence": licence,
        "tensorImageSize": "2D" if not plan.is_volume else "3D",
        "modality": _name_channels(plan.is_colour, plan.units, plan.modality),
        "labels": {"0": "background"} | {str(label.value): label.name for label in task.labels},
        "numTraining": len(trained),
        "numTest": len(cases) - len(trained),
        "training": [
            {"image": case.image, "label": case.labels} | ({"fold": case.plan.fold} if has_folds else {})
            for case in trained
        ],
        "testing": [{"image": case.image, "label": case.labels} for case in cases if case.plan.is_held_out],
    }
    _write_json(folder / "dataset.json", content)
    remarks = [] if has_folds else [_ONE_GROUP]
    if task.instances:
        remarks.append("Labels are numbers of objects; 0 is background.")
    return remarks


def _name_channels(is_colour: bool, units: str, modality: str) -> dict[str, str]:
    """Return the names that choose the normalisation of nnU-Net: that of CT only for HU."""
    if is_colour:
        return {"0": "R", "1": "G", "2": "B"}
    return {"0": "CT" if units == "HU" else modality if modality and modality != "CT" else "grey"}


def _split(trained: "Sequence[PlacedCase]") -> list[dict[str, list[str]]]:
    folds = sorted({case.plan.fold for case in trained if case.plan.fold is not None})
    return [
        {
            "train": [case.plan.name for case in trained if case.plan.fold != fold],
            "val": [case.plan.name for case in trained if case.plan.fold == fold],
        }
        for fold in folds
    ]


def _write_json(path: Path, content: object) -> None:
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
