"""Create, store, extend and remove custom tasks."""

import logging

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.catalog import TASKS_FOLDER, TaskCatalog, read_task, write_task
from napari_medseg.core.tasks.custom_task import extends
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)


def add_to_registry(registry: ModelRegistry, catalog: TaskCatalog, task: Task) -> None:
    """Store a new task in the registry, so that every project with this registry knows it.

    Raises
    ------
    MedSegError
        If the catalog already has a task of that name, because the meaning of its labels must not change.
    """
    with lock_shared_folder(registry.user_dir):
        if task.name in catalog or task.name in registry.read_task_catalog():  # another process may have made it
            raise MedSegError(f"there is a task {task.name!r} already. Choose another name, or remove that one first.")
        write_task(task, registry.tasks_dir)
    logger.info("made the task %s with %d labels", task.name, len(task.labels))


def get_custom_task(catalog: TaskCatalog, name: str) -> Task:
    """Return a custom task; raise `MedSegError` if it does not exist or is built-in."""
    if name in TASKS:
        raise MedSegError(f"{name!r} is a built-in task: its labels cannot be changed.")
    return catalog.get_task(name)


def add_task(ws: Workspace, task: Task) -> Task:
    """Create a task and reload the tasks of this workspace; raises like `add_to_registry`."""
    add_to_registry(ws.registry, ws.tasks, task)
    reload_tasks(ws)
    return ws.tasks.get_task(task.name)


def extend_in_registry(registry: ModelRegistry, catalog: TaskCatalog, task: Task) -> None:
    """Store a task with additional labels after the existing ones; existing corrections and versions stay valid.

    Raises
    ------
    MedSegError
        If the task is built-in or unknown, or existing labels would change.
    """
    before = get_custom_task(catalog, task.name)
    if not extends(task, before):
        raise MedSegError(
            f"labels of {task.name!r} would change their meaning. You can only add labels after the existing ones."
        )
    with lock_shared_folder(registry.user_dir):
        current = registry.read_task_catalog().custom.get(task.name, before)
        if not extends(task, current):
            raise MedSegError(
                f"another program has changed the task {task.name!r}. Look at its labels, then try again."
            )
        write_task(task, registry.tasks_dir)
    logger.info("the task %s has %d labels now", task.name, len(task.labels))


def remove_task(ws: Workspace, name: str) -> None:
    """Remove a task that is not in use.

    Raises
    ------
    MedSegError
        If the task is built-in or unknown, or a case of this project or a model version uses it.
    """
    if name in TASKS:
        raise MedSegError(f"{name!r} is a built-in task and cannot be removed.")
    ws.tasks.get_task(name)
    cases = ws.project.read_records(Case, "task", name)
    models = [card.id for card in ws.registry.list_versions(name)]
    if cases or models:
        used = [f"{len(cases)} cases of the project {ws.project.folder}"] * bool(cases) + models
        raise MedSegError(f"the task {name!r} is used by {', '.join(used)}, so it cannot be removed.")
    with lock_shared_folder(ws.registry.user_dir):
        for folder in (ws.registry.tasks_dir, ws.project.folder / TASKS_FOLDER):
            (folder / f"{name}.json").unlink(missing_ok=True)
    reload_tasks(ws)


def save_task_to_project(ws: Workspace, task: Task) -> None:
    """Store a custom task in the project, so that the project can be opened with another registry."""
    folder = ws.project.folder / TASKS_FOLDER
    path = folder / f"{task.name}.json"
    if task.name not in TASKS and not (path.exists() and read_task(path) == task):
        write_task(task, folder)


def reload_tasks(ws: Workspace) -> None:
    """Reload the tasks, including changes by other processes such as the command line."""
    ws.tasks = ws.registry.read_task_catalog(ws.project.folder / TASKS_FOLDER)


def read_task_file_times(ws: Workspace) -> frozenset[tuple[str, int]]:
    """Return the files that `reload_tasks` reads, with their modification times, to detect changes."""
    folders = (ws.registry.tasks_dir, ws.project.folder / TASKS_FOLDER)
    files = [path for folder in folders for path in folder.glob("*.json")]
    files += ws.registry.user_dir.glob(f"*/*/{CARD_FILE}")  # the card of a version contains its task
    return frozenset((str(path), path.stat().st_mtime_ns) for path in files)
