"""The snapshot of a training run: corrections with their roles, and replayed older images."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError, get_reason, report_damage
from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.grouping.split import MIN_GROUPS_TO_VALIDATE_RETRAIN, choose_validation_groups
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Case, Correction, Run, UnreadCorrection
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.data_checks import CorrectionToCheck, read_correction_check
from napari_medseg.workflow.findings.certain_voxels import CertainVoxels
from napari_medseg.workflow.findings.kept_checks import KeptChecks
from napari_medseg.workflow.hold_out.content_check import find_replayed_copies, find_shared_cases
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import READ_IMAGES_FILE

logger = logging.getLogger(__name__)

_NAMES = TypeAdapter(list[str])


def build_snapshot(ws: Workspace, task: str, base: ModelCard | None = None) -> tuple[Snapshot, list[RunItem]]:
    """Build the snapshot of a task: hold-out groups for comparison; other groups for training and validation.

    What the hold-out shows is not trained on, whatever its name: copies of its images among the corrections and among
    the replayed images are left out.

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
    pairs = _leave_out_copies(ws, list_current_corrections(ws, task))
    clear = ws.project.identities.read_groups()  # the choice is the same in every project of these images
    learnt = {clear.get(case.group, case.group): case.group for case, _ in pairs if not case.held_out}
    validating = {learnt[name] for name in choose_validation_groups(learnt, MIN_GROUPS_TO_VALIDATE_RETRAIN)}
    roles = [_get_role(case, validating) for case, _ in pairs]
    if Role.TRAIN not in roles:
        held = f" ({len(roles)} in the hold-out; copies of these are left out)" if roles else ""
        raise MedSegError(f"there is no correction to learn from{held}. Accept at least one case outside the hold-out.")
    held_out = [case for case, _ in pairs if case.held_out]
    items = _make_items(ws, task, pairs, roles)
    replayed = leave_out_held_out_groups(ws.project.folder, list_replayed_images(ws, task, base), held_out)
    own_task = None if task in TASKS else ws.tasks.get_task(task)
    snapshot = Snapshot(task=task, items=(*items, *replayed), own_task=own_task)
    snapshot.check_split()
    seen = [RunItem("", correction.id, case.group, role) for (case, correction), role in zip(pairs, roles, strict=True)]
    return snapshot, seen


def read_learnt_corrections(ws: Workspace, task: str) -> set[int]:
    """Return the ids of the corrections that the live version of a task, or one that it comes from, was trained on."""
    parents = {card.id: card.lineage.parent for card in ws.registry.list_versions(task)}
    learnt, model = set[int](), ws.registry.get_live_id(task)
    while model in parents:
        learnt |= ws.project.listed.read_learnt_corrections(model)
        model = parents.pop(model) or ""
    return learnt


def record_unread_corrections(ws: Workspace, run: Run) -> None:
    """Write which corrections of a run its trainer did not read, because time or memory did not allow it."""
    path = ws.project.folder / run.folder / READ_IMAGES_FILE
    if not path.is_file():
        return  # it read all
    try:
        read = {Path(name).name for name in _NAMES.validate_json(read_file(path))}
    except (OSError, ValidationError) as error:
        report_damage(f"{path} is damaged ({get_reason(error)}): all corrections of the run count as learnt.")
        return
    files = {one.id: Path(one.labels_file).name for one in ws.project.read_records(Correction)}
    given = [item for item in ws.project.read_run_items() if item.run_id == run.id and item.role is Role.TRAIN]
    known = {one.correction_id for one in ws.project.read_records(UnreadCorrection, "run_id", run.id)}
    with ws.project.transaction():
        for item in given:
            if files.get(item.correction_id) not in read and item.correction_id not in known:
                ws.project.insert(UnreadCorrection(0, run.id, item.correction_id))


def _leave_out_copies(ws: Workspace, pairs: Sequence[tuple[Case, Correction]]) -> list[tuple[Case, Correction]]:
    """Return the corrections without those of training images that a hold-out case shows, too."""
    learnt, held_out = ([case for case, _ in pairs if case.held_out is side] for side in (False, True))
    copies = find_copies(ws.project.folder, learnt, held_out)
    return [(case, correction) for case, correction in pairs if case.id not in copies]


def find_copies(folder: Path, learnt: Sequence[Case], held_out: Sequence[Case]) -> set[int]:
    """Return the ids of the training cases that show what a hold-out case shows: nothing may be learnt from them.

    `folder` is that of the project. Only files are accessed, so it may run in a worker thread.
    """
    shared = find_shared_cases(folder, learnt, held_out)
    copies = {learnt[found.one].id: held_out[found.other].name for found in shared if found.is_copy}
    for case in learnt:
        if case.id in copies:
            logger.warning("%s is not trained on: it is a copy of %s in the hold-out", case.name, copies[case.id])
    return set(copies)


def leave_out_held_out_groups(
    folder: Path, replayed: list[SnapshotItem], held_out: Sequence[Case]
) -> list[SnapshotItem]:
    """Return the replayed images of groups that no hold-out case belongs to: one common image is proof enough.

    `folder` is that of the project. Only files are accessed, so it may run in a worker thread.
    """
    copies = [copy.item for copy in find_replayed_copies(folder, replayed, held_out) if copy.is_copy]
    groups = {item.group for item in copies}
    if groups:
        logger.warning(
            "older images of %s are not replayed: the hold-out shows the same",
            ", ".join(map(get_group_label, sorted(groups))),
        )
    return [item for item in replayed if item.group not in groups]


def _get_role(case: Case, validating: Collection[str]) -> Role:
    if case.held_out:
        return Role.HOLD_OUT
    return Role.VALIDATE if case.group in validating else Role.TRAIN


def _make_items(
    ws: Workspace, task: str, pairs: Sequence[tuple[Case, Correction]], roles: Sequence[Role]
) -> list[SnapshotItem]:
    folder, wanted = ws.project.folder, ws.tasks.get_task(task)
    items, has_second_readings = [], ws.second_readings.are_made
    with KeptChecks(folder) as kept:
        for (case, correction), role in zip(pairs, roles, strict=True):
            certain = read_correction_check(folder, kept, CorrectionToCheck(wanted, case, correction)).certain
            item = make_item(folder, case, correction, role, certain or CertainVoxels())
            is_blind = has_second_readings and ws.second_readings.is_awaited(case)
            items.append(item.model_copy(update={"may_be_shown": False}) if is_blind else item)
    return items


def make_item(folder: Path, case: Case, correction: Correction, role: Role, certain: CertainVoxels) -> SnapshotItem:
    """Return the item of a correction; `folder` is that of the project."""
    has_mask = role is Role.TRAIN and bool(certain.mask_file)
    return SnapshotItem(
        name=case.name,
        image=str((folder / correction.image_file).absolute()),
        image_shape=case.shape,
        labels=str((folder / correction.labels_file).absolute()),
        group=case.group,
        role=role,
        source="corrections",
        labels_sha256=correction.sha256,
        edited_planes=certain.planes,
        certain_mask=str((folder / certain.mask_file).absolute()) if has_mask else "",
        certain_sha256=certain.mask_sha256 if has_mask else "",
        reviewed_mask=str((folder / correction.reviewed_file).absolute()) if correction.reviewed_file else "",
        reviewed_sha256=correction.reviewed_sha256,
    )
