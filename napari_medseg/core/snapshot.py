"""A snapshot: a frozen, hashed list of labelled cases with their split by group. It is the data of one run.

`snapshot.json` in a run folder is the only information that the trainer has about a project.
"""

import hashlib
import itertools
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.tasks.bundled_tasks import Task, get_task
from napari_medseg.core.tasks.custom_task import CustomTask

SNAPSHOT_FILE = "snapshot.json"
IGNORE_INDEX = 255
"""Class of an unlabelled pixel on the network's grid: loss and validation ignore it."""


class Role(StrEnum):
    """Role of an item. `HOLD_OUT` items compare the new version with the old one and are never trained on.

    `UNLABELLED` images have no labels: the network learns to say the same of two views of them.
    """

    TRAIN = "train"
    VALIDATE = "validate"
    REPLAY = "replay"
    HOLD_OUT = "hold_out"
    UNLABELLED = "unlabelled"


class Box(BaseModel):
    """Rows `top` to `bottom` and columns `left` to `right` of an image's grid; `bottom` and `right` are excluded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int = Field(ge=0)
    bottom: int = Field(ge=1)
    left: int = Field(ge=0)
    right: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.top >= self.bottom or self.left >= self.right:
            raise ValueError(f"the box {self.model_dump()} is empty; its end must be larger than its start")
        return self


class SnapshotItem(BaseModel):
    """One image with its labels. Paths are absolute, or relative to the folder of the snapshot file, with slashes.

    `labels` is empty for the role `UNLABELLED`, and only for it. `image_sha256` is the hash of the image, if known.
    `image_shape` is its shape, with channels, if the image is a copy in a project: then its size is no surprise.
    `edited_planes` are the planes of a volume that a person changed, if known: the trainer samples them more often.
    `weight` is the relative sampling frequency of the image; the default is 1. `field_labels` are the labels of the
    region of interest (ROI) that the image is cropped to, if the model has one. If only a part was reviewed, the review
    region is the box `reviewed` of every plane, or the non-zero pixels of the file `reviewed_mask` (one plane or all
    planes, with its hash if known). Labels of `ignored_value` mark unlabelled pixels. A run trains and validates only
    on reviewed, labelled pixels. The non-zero voxels of `certain_mask` are those that a person painted or called right:
    the trainer gives them a larger weight. `label_sets` names the values that stand for several classes of the network:
    the label says that a pixel is one of them, and not which. Reports and previews show the labels only if
    `may_be_shown`: not while a second person is to read the case blind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    labels: str
    group: str
    role: Role
    source: str = ""
    labels_sha256: str = ""
    edited_planes: tuple[int, ...] = ()
    weight: float = Field(1.0, gt=0)
    field_labels: str = ""
    reviewed: Box | None = None
    reviewed_mask: str = ""
    reviewed_sha256: str = ""
    ignored_value: int | None = Field(None, ge=1)
    label_sets: dict[int, tuple[int, ...]] = {}
    certain_mask: str = ""
    certain_sha256: str = ""
    image_sha256: str = ""
    image_shape: tuple[int, ...] = ()
    may_be_shown: bool = True

    @field_validator("image", "labels", "field_labels", "reviewed_mask", "certain_mask")
    @classmethod
    def _can_be_read_elsewhere(cls, path: str) -> str:
        return use_slashes(path)

    @model_validator(mode="after")
    def _has_no_labels_if_unlabelled(self) -> Self:
        if self.labels and self.role is Role.UNLABELLED:
            raise ValueError(f"{self.name} has labels and the role {Role.UNLABELLED.value!r}; remove one of them")
        return self

    @property
    def is_partial(self) -> bool:
        """Whether a part of the image is not reviewed or not labelled."""
        return self.reviewed is not None or bool(self.reviewed_mask) or self.ignored_value is not None


class Snapshot(BaseModel):
    """The items of one run; immutable. `own_task` is the definition of a custom task, `None` for a built-in one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    items: tuple[SnapshotItem, ...]
    own_task: CustomTask | None = None

    @property
    def task_definition(self) -> Task:
        """The task; its definition is in the snapshot, so a run folder is complete."""
        return self.own_task or get_task(self.task)

    @property
    def sha256(self) -> str:
        """Hash of the task and all items, without paths, so that moving a project does not change it."""
        digest = hashlib.sha256(self.task.encode())
        for item in self.items:
            digest.update(f"{item.name}|{item.group}|{item.role}|{item.labels_sha256}".encode())
            if item.is_partial:
                part = (item.reviewed, Path(item.reviewed_mask).name, item.ignored_value)
                digest.update("|".join(map(str, part)).encode())
            if item.label_sets:
                digest.update(str(sorted(item.label_sets.items())).encode())
            if item.certain_mask:
                digest.update(item.certain_sha256.encode())
            if item.image_sha256:
                digest.update(item.image_sha256.encode())
        return digest.hexdigest()

    def filter_by_role(self, *roles: Role) -> list[SnapshotItem]:
        """Return the items with one of these roles, in order."""
        return [item for item in self.items if item.role in roles]

    def check_split(self) -> None:
        """Raise an error if a group is both in the hold-out and in the training set.

        Raises
        ------
        MedSegError
            If there is such a group; the text names the groups.
        """
        held_out = {item.group for item in self.filter_by_role(Role.HOLD_OUT)}
        learnt = {item.group for item in self.items if item.role is not Role.HOLD_OUT}
        if both := sorted(held_out & learnt):
            raise MedSegError(
                f"the groups {both} are in the hold-out and in the training set. "
                "A patient, slide or video belongs to one side only; freeze or release the whole group."
            )


def read_snapshot(path: Path) -> Snapshot:
    """Read `snapshot.json`; raise `MedSegError` if it is not a snapshot."""
    return read_json_model(path, Snapshot, "is not a snapshot", "Make the run again.")


def write_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot as indented JSON."""
    path.write_text(snapshot.model_dump_json(indent=2) + "\n", encoding="utf-8")


def make_paths_relative(snapshot: Snapshot, run_dir: Path, root: Path) -> Snapshot:
    """Return the snapshot with paths inside `root`, such as a project, relative to the run folder.

    So a run can go on after its project was moved. A path that would lead elsewhere, because the run folder is reached
    through a link, stays as it is.

    Parameters
    ----------
    snapshot
        With absolute paths.
    run_dir, root
        Folder of the snapshot file, which exists, and the folder that is moved as a whole.
    """
    shorter: dict[str, str] = {}  # of folders: thousands of files lie in two of them

    def shorten(path: str) -> str:
        folder, name = os.path.split(path)
        if path and folder not in shorter:
            shorter[folder] = _shorten_folder(folder, run_dir, root)
        return f"{shorter[folder]}/{name}" if path and shorter[folder] else path

    names = ("image", "labels", "field_labels", "reviewed_mask", "certain_mask")
    items = [item.model_copy(update={name: shorten(getattr(item, name)) for name in names}) for item in snapshot.items]
    return snapshot.model_copy(update={"items": tuple(items)})


def _shorten_folder(folder: str, run_dir: Path, root: Path) -> str:
    """Return a folder inside `root` relative to the run folder; empty if that is none, or would lead elsewhere."""
    if not Path(folder).is_relative_to(root.absolute()):
        return ""
    relative = Path(os.path.relpath(folder, run_dir.absolute()))
    leads_there = (run_dir / relative).exists() and os.path.samefile(run_dir / relative, folder)
    return relative.as_posix() if leads_there else ""


def round_robin(items: Sequence[SnapshotItem]) -> list[SnapshotItem]:
    """Order items so that one item of each group comes before the second item of any group."""
    groups: dict[str, list[SnapshotItem]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    rounds = itertools.zip_longest(*groups.values())
    return [item for one_round in rounds for item in one_round if item is not None]
