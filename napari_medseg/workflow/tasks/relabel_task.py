"""Change the labels of a task that is in use, without changing the meaning of existing labels."""

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.core.records import Case, Correction, Review
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.catalog import TASKS_FOLDER, write_task
from napari_medseg.workflow.review import list_draft_cases
from napari_medseg.workflow.tasks.custom_tasks import get_custom_task, reload_tasks
from napari_medseg.workflow.workspace import Workspace

MAX_NAMES_LISTED = 3


def change_labels(ws: Workspace, task: Task) -> Task:
    """Replace the labels of the task with the same name and reload the tasks of the workspace.

    Adding labels at the end and changing colours is always possible. A label can be renamed or removed only if no case
    of this project and no model version uses it.

    Raises
    ------
    MedSegError
        If the task is built-in or unknown, or a label in use would be renamed or removed.
    """
    before = get_custom_task(ws.tasks, task.name)
    names = {label.value: label.name for label in task.labels}
    lost = [label for label in before.labels if names.get(label.value) != label.name]
    used = [(label, users) for label in lost if (users := _describe_label_users(ws, task.name, label.value))]
    if used:
        stay = "; ".join(f"label {label.value} {label.name!r} is used by {users}" for label, users in used)
        raise MedSegError(f"{stay}. It keeps its name and value. You can only add labels after the existing ones.")
    with lock_shared_folder(ws.registry.user_dir):
        write_task(task, ws.registry.tasks_dir)
    if (ws.project.folder / TASKS_FOLDER / f"{task.name}.json").exists():
        write_task(task, ws.project.folder / TASKS_FOLDER)
    reload_tasks(ws)
    return ws.tasks.get_task(task.name)


def is_task_in_use(ws: Workspace, name: str) -> bool:
    """Whether a case with a review or a model version uses the labels of a task."""
    cases = {case.id for case in ws.project.read_records(Case, "task", name)}
    reviews = [review for review in ws.project.read_records(Review) if review.case_id in cases]
    return bool(reviews or ws.registry.list_versions(name))


def _describe_label_users(ws: Workspace, name: str, value: int) -> str:
    """Return a text with the users of a label; empty if there are none. A draft counts as a user of all labels."""
    known = [(card.id, card.task_definition) for card in ws.registry.list_versions(name)]
    versions = [model for model, task in known if any(label.value == value for label in task.labels)]
    cases = {case.id: case for case in ws.project.read_records(Case, "task", name)}
    drafts = [row.name for row in list_draft_cases(ws) if row.id in cases]
    accepted = [
        cases[one.case_id].name
        for one in ws.project.read_records(Correction)
        if one.case_id in cases and _has_label(ws, cases[one.case_id], one, value)
    ]
    users = {"the correction of": accepted, "the draft of": drafts, "the model": versions}
    return " and ".join(f"{what} {', '.join(names[:MAX_NAMES_LISTED])}" for what, names in users.items() if names)


def _has_label(ws: Workspace, case: Case, correction: Correction, value: int) -> bool:
    return bool((read_case_labels(ws.project.folder, case, correction) == value).any())
