"""The card of a data set: `data_card.json`, with which it is imported again, and `README.md` for people."""

import statistics
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.quality.measurements import Measurement
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.custom_task import CustomTask

CARD_FILE = "data_card.json"
README_FILE = "README.md"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelSize(_Frozen):
    """Size of a label in a case: voxels, and ml, mm2 or px; `objects` of a task with numbered objects."""

    voxels: int
    value: float
    unit: Literal["ml", "mm2", "px"]
    objects: int | None = None


class CardCase(_Frozen):
    """One case: its group, its side, its files from the folder of the data set, and how its labels were made."""

    name: str
    group: str
    held_out: bool
    fold: int | None = None
    image: str
    labels: str = Field(description="the exact labels of the correction")
    reviewed: str | None = Field(None, description="mask of the reviewed pixels; none if the whole image was reviewed")
    axes: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None = None
    modality: str = ""
    content_sha256: str = ""
    model: str | None = None
    who: str | None = None
    accepted: str = ""
    sizes: dict[str, LabelSize] = {}

    @field_validator("image", "labels", "reviewed")
    @classmethod
    def _check_inside(cls, name: str | None) -> str | None:
        path = PurePosixPath(name or "a")
        if path.is_absolute() or ".." in path.parts or "\\" in str(name) or ":" in str(name):
            raise ValueError(f"{name!r} is not in the folder of the data set")
        return name


class DataCard(_Frozen):
    """What a data set holds."""

    content: Literal["data set of napari-medseg, version 1"] = "data set of napari-medseg, version 1"
    layout: str
    task: str
    own_task: CustomTask | None = None
    labels: dict[str, str] = Field(description="names of the values in the files of `CardCase.labels`")
    licence: str
    cases: tuple[CardCase, ...]
    remarks: tuple[str, ...] = ()

    @property
    def task_definition(self) -> Task:
        """The task.

        Raises
        ------
        MedSegError
            If it is not built-in and the card does not define it.
        """
        known = self.own_task or TASKS.get(self.task)
        if known is None:
            raise MedSegError(f"the data set is for the task {self.task!r}, which its card does not describe.")
        return known


def read_data_card(folder: Path) -> DataCard:
    """Read the card of a data set; raise `MedSegError` if it is damaged."""
    return read_json_model(
        folder / CARD_FILE, DataCard, "is not the card of a data set", "Use a data set that this program wrote."
    )


def describe_sizes(sizes: Sequence[Measurement]) -> dict[str, LabelSize]:
    """Return the sizes of labels by their names."""
    return {
        one.label.name: LabelSize(voxels=one.voxels, value=round(one.value, 4), unit=one.unit, objects=one.count)
        for one in sizes
    }


def write_data_card(folder: Path, card: DataCard, title: str) -> None:
    """Write both files."""
    atomic_write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    atomic_write_text(folder / README_FILE, _format_readme(card, title))


def _format_readme(card: DataCard, title: str) -> str:
    sides = [("training and validation", False), ("test (hold-out)", True)]
    lines = [f"# {card.task_definition.title}: {len(card.cases)} images with labels", ""]
    lines += [f"Written by napari-medseg as {title}. Licence: {card.licence}.", ""]
    lines += ["| set | images | groups |", "|---|---|---|"]
    for name, held_out in sides:
        those = [case for case in card.cases if case.held_out == held_out]
        lines.append(f"| {name} | {len(those)} | {len({case.group for case in those})} |")
    lines += ["", "Images of one group (patient, slide or video) are in one set and one fold.", ""]
    lines += ["| value | label | images with it | voxels | median of those images |", "|---|---|---|---|---|"]
    lines += [_format_label(card, value, name) for value, name in card.labels.items()]
    models = sorted({case.model or "none" for case in card.cases})
    people = len({case.who for case in card.cases if case.who})
    lines += ["", f"Labels were proposed by: {', '.join(models)}. People who accepted them: {people or 'not named'}."]
    partly = sum(case.reviewed is not None for case in card.cases)
    if partly:
        lines.append(f"Images of which only a part was reviewed: {partly}; masks in `reviewed`, 0 is not reviewed.")
    lines += ["", *(f"- {remark}" for remark in card.remarks)]
    lines += ["", "`SHA256SUMS` has the checksums of all files; `split.csv` the groups and folds."]
    lines += [f"`medseg import` makes a project of this folder, with what `{CARD_FILE}` says.", ""]
    return "\n".join(lines)


def _format_label(card: DataCard, value: str, name: str) -> str:
    found = [case.sizes[name] for case in card.cases if name in case.sizes and case.sizes[name].voxels]
    units = {one.unit for one in found}
    median = "" if len(units) != 1 else f"{statistics.median(one.value for one in found):.4g} {units.pop()}"
    return f"| {value} | {name} | {len(found)} | {sum(one.voxels for one in found):,} | {median} |"
