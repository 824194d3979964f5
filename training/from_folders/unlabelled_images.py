"""Folders of images without labels: which of them a run may learn from.

An image that shows the same as an image that judges the model, in the hold-out or in validation, is left out.
"""

import csv
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import GroupPattern
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, key_groups
from napari_medseg.core.model_card import DataSource
from napari_medseg.core.name_matching import compile_pattern, unify_name
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.shared_content import find_shared_content
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import image_fits_task
from training.from_folders.base_recipe import FolderSource
from training.from_folders.folder_data import FolderData, GroupSplit
from training.from_folders.mask_pairing import list_images
from training.run_folder import LABELS_FOLDER
from training.run_setup import split_by_role, spread_indices

MAX_LISTED = 8
NO_LABELS = "none; consistency training"
OWN_DATA = "the user's own data"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupedPath:
    """An unlabelled image and its patient, slide or video."""

    name: str
    path: Path
    group: str


def list_unlabelled(folder: Path, masks: Path, only: str = "") -> list[tuple[str, Path]]:
    """Return name and path of the images of a folder whose name `only` matches; masks among them are left out.

    Raises
    ------
    MedSegError
        If there is no such folder, or no image in it.
    """
    images, _ = list_images(folder, masks)
    chosen = [(name, path) for name, path in images.items() if compile_pattern(only).search(name)]
    if not chosen:
        raise MedSegError(f"{folder} contains no unlabelled image that can be read. Choose another folder.")
    return chosen


def group_unlabelled(
    images: Sequence[tuple[str, Path]], pattern: str, judging: Collection[str]
) -> tuple[list[GroupedPath], list[str]]:
    """Return the images with their groups, without those of a group that judges the model, and what to tell the user.

    Parameters
    ----------
    images
        Name and path of each image; each is read, because DICOM files state their patient.
    pattern
        A `GroupPattern`; empty: as the files say.
    judging
        Groups of the hold-out and of validation.
    """
    kept: list[GroupedPath] = []
    apart, unreadable, unmatched = [], [], []
    for name, path in images:
        try:
            group = _find_group(name, path, pattern)
        except MedSegError:
            unreadable.append(name)
            continue
        if not group:
            unmatched.append(name)  # it may be of a patient who judges the model
        elif group in judging:
            apart.append(name)
        else:
            kept.append(GroupedPath(name, path, group))
    reasons = (
        ("they cannot be read", unreadable),
        (f"{pattern!r} does not match their names", unmatched),
        ("their group is held out or used for validation", apart),
    )
    return kept, [_describe(names, reason) for reason, names in reasons if names]


def _find_group(name: str, path: Path, pattern: str) -> str:
    """Return the group of an image; empty if the pattern does not match."""
    if pattern:
        return unify_name(GroupPattern.parse(pattern).find_group(path))
    return unify_name(formats.read(path).group or name)


def _list_judging_groups(data: FolderData, split: GroupSplit) -> set[str]:
    """Return the groups that judge the model, also by their names before groups with copies were put together."""
    judging = {*split.hold_out, *split.validate}
    if not data.joins_copies:
        return judging
    images, _ = list_images(data.images, data.masks)
    members = {name for name, group in split.group_of.items() if group in judging}
    return judging | {_find_group(name, path, data.group_by) for name, path in images.items() if name in members}


def make_unlabelled_sources(
    data: FolderData, split: GroupSplit, key: bytes, run_dir: Path
) -> list[tuple[FolderSource, DataSource]]:
    """Return a source for each folder of unlabelled images of a user, with its line of the card.

    Parameters
    ----------
    data, split
        The user's folders, and the split of the labelled images, whose groups are not hidden yet.
    key, run_dir
        The key that hides groups, and the run folder, where the groups of the images are written.

    Raises
    ------
    MedSegError
        If a folder has no image that may be used.
    """
    made, judging = [], _list_judging_groups(data, split)
    for number, folder in enumerate(data.unlabelled, start=1):
        images, notices = group_unlabelled(list_unlabelled(folder, data.masks), data.group_by, judging)
        for notice in notices:
            logger.warning("%s", notice)
        if not images:
            raise MedSegError(f"no image of {folder} can be used: {'; '.join(notices)}. Give another folder.")
        keyed = key_groups([image.group for image in images], key, choose_group_noun(data.encoding.task))
        name = "unlabelled" if len(data.unlabelled) == 1 else f"unlabelled_{number}"
        index = run_dir / LABELS_FOLDER / f"{name}.csv"
        with index.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("name", "group"), *((image.name, keyed[image.group]) for image in images)])
        only = "|".join(re.escape(image.name) for image in images)
        source = FolderSource(
            name=name, images=str(folder.absolute()), only=f"^({only})$", index=str(index.absolute()), unlabelled=True
        )
        described = DataSource(
            name=name, n_images=len(images), groups=len(set(keyed.values())), labels=NO_LABELS, licence=OWN_DATA
        )
        made.append((source, described))
    return made


def make_unlabelled_items(source: FolderSource, data: Path) -> list[SnapshotItem]:
    """Return the images of an unlabelled source of a base recipe; `data` is the folder of its paths."""
    folder = (data / source.images).resolve()
    images = list_unlabelled(folder, folder, source.only)
    groups = source.assign_roles([name for name, _ in images], data)
    return [
        SnapshotItem(
            name=f"{source.name}/{name}",
            image=str(path),
            labels="",
            group=f"{source.name}/{groups[name][0]}",
            role=Role.UNLABELLED,
            source=source.name,
            weight=source.weight,
            image_sha256="" if path.is_dir() else compute_file_sha256(path),
        )
        for name, path in images
    ]


def keep_unlabelled_apart(snapshot: Snapshot, run_dir: Path, max_images: int) -> tuple[Snapshot, list[str]]:
    """Leave out unlabelled images that the run must not or cannot use.

    Parameters
    ----------
    snapshot, run_dir
        All images of the run, and the folder that their paths are relative to.
    max_images
        If there are more unlabelled images, so many are chosen evenly before any of them is read.

    Returns
    -------
    snapshot, notices
        Without unlabelled images that cannot be read, that have axes which the task does not take, or that show the
        same, or the same place, as an image of the hold-out or of validation; and what to tell the user about them.

    Raises
    ------
    MedSegError
        If no unlabelled image is left.
    """
    unlabelled = snapshot.filter_by_role(Role.UNLABELLED)
    if not unlabelled:
        return snapshot, []
    notices = []
    if len(unlabelled) > max_images:
        notices.append(f"{max_images} of {len(unlabelled)} unlabelled images are used (data.unlabelled.max_images)")
        unlabelled = [unlabelled[index] for index in spread_indices(len(unlabelled), max_images)]
    read = [(item, _read_fingerprint(item, run_dir, snapshot.task_definition)) for item in unlabelled]
    usable = [(item, found) for item, found in read if not isinstance(found, str)]
    for reason in dict.fromkeys(found for _, found in read if isinstance(found, str)):
        notices.append(_describe([item.name for item, found in read if found == reason], reason))
    copies = _find_copies(usable, snapshot, run_dir)
    if copies:
        notices.append(_describe(sorted(copies), "they show the same as images of the hold-out or of validation"))
    kept = [item for item, _ in usable if item.name not in copies]
    if not kept:
        raise MedSegError(f"no unlabelled image is left: {'; '.join(notices)}. Give others, or train without them.")
    labelled = [item for item in snapshot.items if item.role is not Role.UNLABELLED]
    return snapshot.model_copy(update={"items": (*labelled, *kept)}), notices


def _read_fingerprint(item: SnapshotItem, run_dir: Path, task: Task) -> Fingerprint | str:
    """Return the fingerprint of an unlabelled image, or why it cannot be used."""
    try:
        image = formats.read(run_dir / item.image)
    except MedSegError:
        return "they cannot be read"
    if not image_fits_task(image, task):
        return f"the task takes images with axes {', '.join(task.axes)}"
    return compute_fingerprint(image)


def _find_copies(usable: Sequence[tuple[SnapshotItem, Fingerprint]], snapshot: Snapshot, run_dir: Path) -> set[str]:
    """Return the names of the images that show the same as an image of the hold-out or of validation."""
    split = split_by_role(snapshot)
    judging = [compute_fingerprint(formats.read(run_dir / item.image)) for item in (*split.validate, *split.hold_out)]
    shared = find_shared_content([found for _, found in usable], judging)
    return {usable[one.one][0].name for one in shared}


def _describe(names: Sequence[str], reason: str) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{len(names)} unlabelled images are left out, because {reason}: {', '.join(names[:MAX_LISTED])}{more}"
