"""The catalog of tasks: built-in tasks, and custom tasks, each stored as a small file.

A custom task is stored in `<registry>/tasks/<name>.json`, so that every project knows it; in `<project>/tasks/` once
the project has a case of it, so that the project can be moved; and on the card of each version for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import RootModel

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, look_up, report_damage
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.custom_task import CustomTask, extends

TASKS_FOLDER = "tasks"


class _TaskFile(RootModel[CustomTask]):
    """One task."""


@dataclass(frozen=True)
class TaskCatalog:
    """All tasks by name; `custom` holds the custom tasks."""

    custom: Mapping[str, Task] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Task]:
        yield from TASKS.values()
        yield from self.custom.values()

    def get_task(self, name: str) -> Task:
        """Return the task with a name.

        Raises
        ------
        MedSegError
            If there is none; the text lists the choices.
        """
        every = {**self.custom, **TASKS}
        return look_up(every, name, "task", advice=f", or make it: medseg tasks add {name}")

    def __contains__(self, name: str) -> bool:
        return name in TASKS or name in self.custom


def read_task_catalog(folders: Iterable[Path], from_cards: Iterable[Task | None] = ()) -> TaskCatalog:
    """Read all tasks.

    Parameters
    ----------
    folders
        Folders with task files; a later folder has priority, so the project's folder comes after the registry's.
        Exception: if a definition equals another one plus more labels at the end, the longer one is used, so that
        labels added in one place are known everywhere. A missing folder is allowed; a damaged file is reported once
        and skipped.
    from_cards
        Tasks on the cards of versions, for tasks that exist only there.
    """
    own: dict[str, Task] = {}
    for known in from_cards:
        if known is not None:
            own[known.name] = _choose_longer(own.get(known.name), known)
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            try:
                task = read_task(path)
            except MedSegError as error:
                report_damage(f"{error} Until then the task is used as on the card of its model, if it has one.")
            else:
                own[task.name] = _choose_longer(own.get(task.name), task)
    return TaskCatalog(dict(sorted(own.items())))


def read_task(path: Path) -> Task:
    """Read one task; raise `MedSegError` if the file is not a valid task."""
    task = read_json_model(path, _TaskFile, "is not a task", "Correct the file, or create the task again.").root
    if task.name != path.stem:
        raise MedSegError(f"{path} describes the task {task.name!r}. Rename the file to {task.name}.json.")
    return task


def _choose_longer(before: Task | None, task: Task) -> Task:
    """Return the later definition, unless the earlier one extends it with more labels."""
    if before is not None and extends(before, task) and len(before.labels) > len(task.labels):
        return before
    return task


def write_task(task: Task, folder: Path) -> Path:
    """Write a task file atomically into a folder of tasks; return its path."""
    path = folder / f"{task.name}.json"
    atomic_write_text(path, _TaskFile(task).model_dump_json(indent=2) + "\n")
    return path
