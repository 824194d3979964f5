"""The snapshot of a training run: corrections with their roles, and replayed older images."""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.project.undo_journal import StrokeJournal, get_journal_path
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.replay import read_replay_images, read_replay_samples
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem
from napari_medseg.core.split import MIN_GROUPS_TO_VALIDATE_RETRAIN, choose_validation_groups
from napari_medseg.core.tasks.definitions import TASKS
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.drafts import find_edited_voxels
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)


def build_snapshot(ws: Workspace, task: str, base: ModelCard | None = None) -> tuple[Snapshot, list[RunItem]]:
    """Build the snapshot of a task: hold-out groups for comparison; other groups for training and validation.

    Parameters
    ----------
    ws, task
        Workspace, and name of the task.
    base
        Version to fine-tune, whose older images are replayed; `None` means the live version.

    Returns
    -------
    Snapshot, list of RunItem
        The snapshot, and the role of each correction (items without a run id).

    Raises
    ------
    MedSegError
        If there is no correction outside the hold-out.
    """
    pairs = list_current_corrections(ws, task)
    learnt = (case.group for case, _ in pairs if not case.held_out)
    validating = choose_validation_groups(learnt, MIN_GROUPS_TO_VALIDATE_RETRAIN)
    roles = [_get_role(case, validating) for case, _ in pairs]
    if Role.TRAIN not in roles:
        held = f" ({len(roles)} in the hold-out)" if roles else ""
        raise MedSegError(f"there is no correction to learn from{held}. Accept at least one case outside the hold-out.")
    base = base or ws.registry.find_live_card(task)
    times = Counter(case.name for case, _ in pairs)
    items = [
        _make_item(ws.project.folder, case, correction, role, is_unique=times[case.name] == 1)
        for (case, correction), role in zip(pairs, roles, strict=True)
    ]
    held_out = {item.group for item in items if item.role is Role.HOLD_OUT}
    replayed = (
        []
        if base is None
        else [*_list_bundled_replay_items(ws.samples, base, held_out), *_list_replay_items(ws, base, held_out)]
    )
    own_task = None if task in TASKS else ws.tasks.get_task(task)
    snapshot = Snapshot(task=task, items=(*items, *replayed), own_task=own_task)
    snapshot.check_split()
    seen = [RunItem("", correction.id, case.group, role) for (case, correction), role in zip(pairs, roles, strict=True)]
    return snapshot, seen


def _get_role(case: Case, validating: Collection[str]) -> Role:
    if case.held_out:
        return Role.HOLD_OUT
    return Role.VALIDATE if case.group in validating else Role.TRAIN


def _make_item(folder: Path, case: Case, correction: Correction, role: Role, *, is_unique: bool) -> SnapshotItem:
    return SnapshotItem(
        name=case.name if is_unique else f"{case.name} (case {case.id})",
        image=str((folder / correction.image_file).absolute()),
        labels=str((folder / correction.labels_file).absolute()),
        group=case.group,
        role=role,
        source="corrections",
        labels_sha256=correction.sha256,
        edited_planes=_find_edited_planes(folder, case, correction),
        reviewed_mask=str((folder / correction.reviewed_file).absolute()) if correction.reviewed_file else "",
        reviewed_sha256=correction.reviewed_sha256,
    )


def _find_edited_planes(folder: Path, case: Case, correction: Correction) -> tuple[int, ...]:
    path = get_journal_path(folder, correction.review_id)
    if not case.axes.startswith("Z") or not path.exists():
        return ()
    edited = find_edited_voxels(StrokeJournal(path).applied_strokes)
    return tuple(int(plane) for plane in np.unique(edited // (case.shape[1] * case.shape[2])))


def _list_bundled_replay_items(samples: Path, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    return [
        SnapshotItem(
            name=Path(item.image).stem,
            image=str(samples / item.image),
            labels=str(samples / item.labels),
            group=item.group,
            role=Role.REPLAY,
            source="bundled sample",
        )
        for item in read_replay_samples(samples, base)
        if item.group not in held_out
    ]


def _list_replay_items(ws: Workspace, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    """Return the replay images listed by a version trained on folders, if they exist and are not held out."""
    listed = read_replay_images(ws.registry.get_folder(base.id))
    if gone := [image.name for image in listed if not image.is_available]:
        logger.warning(
            "%d of %d older images of %s are missing and not replayed: %s", len(gone), len(listed), base.id, gone
        )
    return [
        SnapshotItem(**image.model_dump(), role=Role.REPLAY, source=f"learnt by {base.id}")
        for image in listed
        if image.is_available and image.group not in held_out
    ]
