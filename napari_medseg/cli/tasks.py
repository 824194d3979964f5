"""`medseg tasks`: list, add, extend and remove tasks."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    JsonOption,
    ProjectOption,
    RegistryOption,
    get_project_dir,
    open_or_make_workspace,
    open_registry,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.catalog import TASKS_FOLDER
from napari_medseg.core.tasks.custom_task import (
    FALLBACK_KINDS,
    IMAGE_KINDS,
    append_task_labels,
    count_input_channels,
    make_custom_task,
)
from napari_medseg.workflow.tasks.custom_tasks import add_to_registry, extend_in_registry, get_custom_task, remove_task

app = typer.Typer(no_args_is_help=True, help="List, add, extend and remove tasks: sets of labels to segment.")

NameArgument = Annotated[
    str, typer.Argument(help="Name in lower-case letters and digits, such as larynx or knee-bones.")
]


@app.command("list")
def list_tasks(as_json: JsonOption = False, registry: RegistryOption = None) -> None:
    """List all tasks with their labels and live models."""
    models = open_registry(registry)
    catalog = models.read_task_catalog()
    live = {task.name: models.get_live_id(task.name) for task in catalog}
    if as_json:
        echo_json([_describe_task(task, live[task.name]) for task in catalog])
        return
    table = Table("task", "title", "labels", "channels", "live model")
    for task in catalog:
        labels = ", ".join(f"{label.value} {label.name}" for label in task.labels)
        table.add_row(task.name, task.title, labels, str(count_input_channels(task)), live[task.name] or "none yet")
    Console().print(table)


@app.command()
def add(
    name: NameArgument,
    labels: Annotated[str, typer.Option(help='Labels of the values 1, 2 ..., such as "vocal_folds,tissue".')],
    colours: Annotated[str, typer.Option(help='One colour per label, such as "#E69F00,#56B4E9".')] = "",
    channels: Annotated[
        int | None, typer.Option(help="3 for colour images, 1 for grey ones.", show_default=False)
    ] = None,
    modality: Annotated[
        str, typer.Option("--modality", help=f"Kind of images: {', '.join(IMAGE_KINDS)}. Sets the channels, too.")
    ] = "",
    title: Annotated[str, typer.Option(help="Name in the window.")] = "",
    instances: Annotated[bool, typer.Option("--instances", help="Number each object, as with nuclei.")] = False,
    registry: RegistryOption = None,
) -> None:
    """Add a task."""
    task = make_custom_task(
        name, _split_words(labels), _split_words(colours), _choose_image_kind(channels, modality), title, instances
    )
    models = open_registry(registry)
    add_to_registry(models, models.read_task_catalog(), task)
    echo(_format_labels(task))
    echo(
        f"Choose it in the window, label and accept a few images, then run: medseg train project --task {name}. "
        f"If you have masks, run: medseg train folders --task {name} --images DIR --masks DIR"
    )


@app.command()
def extend(
    name: NameArgument,
    labels: Annotated[str, typer.Option(help='New labels, such as "pathology,tool". They get the next values.')],
    colours: Annotated[str, typer.Option(help='One colour per new label, such as "#E69F00,#56B4E9".')] = "",
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Add labels to a task.

    Corrections and models keep the labels that they have.
    """
    models = open_registry(registry)
    catalog = models.read_task_catalog(get_project_dir(project) / TASKS_FOLDER)
    if not (words := _split_words(labels)):
        raise MedSegError("name the new labels, as in --labels pathology,tool.")
    task = append_task_labels(get_custom_task(catalog, name), words, _split_words(colours))
    extend_in_registry(models, catalog, task)
    echo(_format_labels(task))
    echo("Accepted cases do not contain the new labels. Review these cases again if they show the new labels.")
    if live := models.get_live_id(name):
        echo(f"{live} predicts only its old labels until you run: medseg train project --task {name}")


@app.command()
def remove(name: NameArgument, project: ProjectOption = None, registry: RegistryOption = None) -> None:
    """Remove a task. No case and no model may use it."""
    with open_or_make_workspace(project, registry) as ws:
        remove_task(ws, name)
    echo(f"{name} is removed.")


def _choose_image_kind(channels: int | None, modality: str) -> str:
    """Return the kind of images from the two options; raise `MedSegError` if they contradict each other."""
    if channels is not None and channels not in FALLBACK_KINDS:
        raise MedSegError(f"images have 1 or 3 channels, not {channels}.")
    kind = modality.lower() or FALLBACK_KINDS[channels or 3]
    if kind in IMAGE_KINDS and channels is not None and (channels == 1) != ("grey" in IMAGE_KINDS[kind].looks):
        raise MedSegError(f"{kind} images do not have {channels} channels. Leave --channels out.")
    return kind


def _format_labels(task: Task) -> str:
    return f"{task.name}: " + ", ".join(f"{label.value} {label.name} {label.colour}" for label in task.labels)


def _split_words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")] if text.strip() else []


def _describe_task(task: Task, live: str) -> dict[str, object]:
    return {
        "task": task.name,
        "title": task.title,
        "own": task.name not in TASKS,
        "labels": [{"value": label.value, "name": label.name, "colour": label.colour} for label in task.labels],
        "instances": task.instances,
        "channels": count_input_channels(task),
        "live": live or None,
    }
