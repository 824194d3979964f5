"""The folder of an adaptation: read from the database in the main thread, written to files in any thread."""

from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.custom_task import CustomTask
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.findings.certain_voxels import CertainVoxels, find_certain_voxels
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.learning.choice import Choice, choose_corrections, list_usable
from napari_medseg.workflow.learning.next_draft import find_state
from napari_medseg.workflow.training_set import find_copies, leave_out_held_out_groups, make_item
from napari_medseg.workflow.workspace import Workspace
from training.adapt.request import SNAPSHOT_FILE, AdaptRequest, write_request

MAX_REPLAYED = 16
"""Older images that are read for each adaptation, evenly chosen."""
MAX_SEEN = 100
"""A state that has seen so many corrections is not gone on from: each prediction records their ids."""


@dataclass(frozen=True)
class Lesson:
    """What an adaptation learns from, as the database knows it.

    `held_out` are the cases whose copies must not be learnt from, `replayed` the older images, and `roi_files` the
    labels of the region of interest by the id of their case. `request` names the corrections of the choice; those that
    are left out when the folder is written are removed from it.
    """

    project_folder: Path
    task: str
    own_task: CustomTask | None
    choice: Choice
    held_out: tuple[Case, ...]
    replayed: tuple[SnapshotItem, ...]
    roi_files: dict[int, str]
    request: AdaptRequest


def plan_lesson(ws: Workspace, task: str) -> Lesson | None:
    """Choose what the next drafts of a task learn from; `None` if there is nothing new. Call it in the main thread.

    Held-out cases and second readings are never among it.
    """
    live = ws.registry.find_live_card(task)
    if live is None:
        return None
    state = find_state(ws, task, live.id)
    if state is not None and len(state.corrections) >= MAX_SEEN:
        state = None
    pairs = list_current_corrections(ws, task)
    usable = list_usable(pairs)
    seen = () if state is None else state.corrections
    choice = choose_corrections(usable, seen, ws.project.identities.read_groups())
    if choice.begins_anew:
        state, seen = None, ()
    if not {correction.id for _, correction in choice.learnt} - {*seen}:
        return None
    replayed = list_replayed_images(ws, task, live)
    wanted = {case.id for case, _ in (*choice.learnt, *choice.compared)} if live.field is not None else set()
    roi_folder = ws.registry.find_roi_folder(live)
    request = AdaptRequest(
        parent=live.id,
        parent_sha256=live.weights_sha256,
        base=str(ws.registry.get_folder(live.id).absolute()),
        start="" if state is None else str(state.folder.absolute()),
        start_sha256="" if state is None else state.sha256,
        roi_model="" if roi_folder is None else str(roi_folder.absolute()),
        corrections=tuple(seen),
        seed=len(usable),
    )
    return Lesson(
        ws.project.folder,
        task,
        None if task in TASKS else ws.tasks.get_task(task),
        choice,
        tuple(case for case, _ in pairs if case.held_out),
        tuple(replayed[:: -(-len(replayed) // MAX_REPLAYED) or 1]),
        {case_id: file for case_id in wanted if (file := _find_roi_file(ws, case_id))},
        request,
    )


def write_lesson(lesson: Lesson, folder: Path) -> bool:
    """Write request and snapshot; return False if nothing is left to learn. It may run in a worker thread.

    Copies of held-out images are left out, and so are replayed images of groups that the hold-out shows.
    """
    project, choice = lesson.project_folder, lesson.choice
    copies = find_copies(project, [case for case, _ in choice.learnt], lesson.held_out)
    kept = [(case, correction) for case, correction in choice.learnt if case.id not in copies]
    if not {correction.id for _, correction in kept} - {*lesson.request.corrections}:
        return False
    pairs = [(pair, Role.TRAIN) for pair in kept] + [(pair, Role.VALIDATE) for pair in choice.compared]
    items = []
    for (case, correction), role in pairs:
        certain = find_certain_voxels(project, case, correction) or CertainVoxels()
        item = make_item(project, case, correction, role, certain)
        if roi_file := lesson.roi_files.get(case.id):
            item = item.model_copy(update={"field_labels": str((project / roi_file).absolute())})
        items.append(item)
    replayed = leave_out_held_out_groups(project, list(lesson.replayed), lesson.held_out)
    snapshot = Snapshot(task=lesson.task, items=(*items, *replayed), own_task=lesson.own_task)
    write_snapshot(snapshot, folder / SNAPSHOT_FILE)
    learnt = {*lesson.request.corrections, *(correction.id for _, correction in kept)}
    write_request(lesson.request.model_copy(update={"corrections": tuple(sorted(learnt))}), folder)
    return True


def _find_roi_file(ws: Workspace, case_id: int) -> str:
    files = [one.field_file for one in ws.project.read_records(Prediction, "case_id", case_id) if one.field_file]
    return files[-1] if files else ""
