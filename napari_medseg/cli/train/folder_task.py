"""The task of `medseg train folders`: an existing one, or a new one from the names of its labels."""

from pathlib import Path

from napari_medseg.cli.options import split_words
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.catalog import TaskCatalog
from napari_medseg.core.tasks.custom_task import have_same_labels


def choose_name_and_task(
    name: str, task: str, labels: str, folders: tuple[Path, Path], catalog: TaskCatalog, *, instances: bool
) -> tuple[str, Task]:
    """Return the name of the model and its task.

    Parameters
    ----------
    name, task, labels
        As typed; empty if not given.
    folders
        Folder of images, and folder or file of masks.
    catalog
        Existing tasks.
    instances
        Whether a new task numbers its objects.

    Raises
    ------
    MedSegError
        If neither labels nor a task are known, or an existing task has other labels.
    """
    name = name or _make_default_name(task, catalog)
    if task:
        return name, catalog.get_task(task)
    return name, _find_or_make_task(name, labels, *folders, catalog, instances=instances)


def _make_default_name(task: str, catalog: TaskCatalog) -> str:
    """Return the default model name of a custom task; for a built-in task a different name."""
    if not task:
        return "my-model"
    return f"{task}-own" if task in TASKS else catalog.get_task(task).default_model


def _find_or_make_task(
    name: str, labels: str, images: Path, masks: Path, catalog: TaskCatalog, *, instances: bool
) -> Task:
    """Return the task of that name if it exists, so that a second training uses it too, else a new task."""
    from training.from_folders.folder_run import make_folder_task
    from training.from_folders.mask_files import read_categories

    words = split_words(labels) or list(read_categories(masks))
    if not words:
        raise MedSegError(
            "what do the mask values mean? Give --labels, such as right_lung,left_lung, or --task, such as lungs."
        )
    task = make_folder_task(name, words, images, instances=instances)
    if task.name not in catalog:
        return task
    known = catalog.get_task(task.name)
    if not have_same_labels(known, task):
        raise MedSegError(
            f"the existing task {task.name!r} has other labels: {', '.join(label.name for label in known.labels)}. "
            f"Choose another --name, or add labels to it: medseg tasks extend {task.name}"
        )
    return known
