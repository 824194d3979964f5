"""`medseg models`: list, show, add, promote and measure models."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.models import export, import_weights, network_summary
from napari_medseg.cli.options import DEFAULT_TASK, JsonOption, RegistryOption, TaskOption, open_registry
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, ModelCard, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.custom_task import extends

app = typer.Typer(no_args_is_help=True, help="List, show, add, promote and measure models.")
ModelArgument = Annotated[str, typer.Argument(help="Version, such as lungs-unet@4.")]


@app.command("list")
def list_versions(
    task: Annotated[str | None, typer.Option("--task", "-t", help="List only this task.", show_default=False)] = None,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """List all versions, newest first."""
    models = open_registry(registry)
    if task is not None:
        models.read_task_catalog().get_task(task)
    live = _list_live_ids(models)
    cards = models.list_versions(task)
    if as_json:
        echo_json([_describe_version(card, live) | {"folder": str(models.get_folder(card.id))} for card in cards])
        return
    table = Table(Column("version", no_wrap=True), "task", "live", "parent", "hold-out Dice", "made")
    for card in cards:
        dice = [score for score in card.hold_out if score.metric == "Dice"][-1:]  # the last one is of all sources
        scores = ", ".join(f"{score.mean:.4f} ({score.n_images} images)" for score in dice)
        is_live = "live" if card.id in live else ""
        table.add_row(card.id, card.task, is_live, card.lineage.parent or "", scores, card.lineage.created[:10])
    Console().print(table)


@app.command()
def show(model: ModelArgument, as_json: JsonOption = False, registry: RegistryOption = None) -> None:
    """Show the training data, scores and weaknesses of a version."""
    models = open_registry(registry)
    card = models.get_card(model)
    if as_json:
        echo_json(card.model_dump(mode="json"))
        return
    echo(
        f"{card.id}{' (live)' if card.id in _list_live_ids(models) else ''}: {card.architecture.name} "
        f"{card.architecture.encoder}, task {card.task}, licence {card.licence or 'not stated'}"
    )
    echo(f"folder: {models.get_folder(model)}")
    lineage = card.lineage
    echo(f"from: {lineage.parent or 'scratch'}, {lineage.n_corrections} corrections, seed {lineage.seed}")
    if lineage.promotion_reason:
        echo(f"promoted because: {lineage.promotion_reason}")
    for source in card.training_data:
        echo(f"trained on: {source.name}, {source.n_images} images, {source.groups} groups, {source.licence}")
    for score in card.hold_out:
        echo(f"{score.metric} on {score.dataset}: {score.mean:.4f}, worst {score.worst:.4f}, {score.n_images} images")
    for weakness in card.weaknesses:
        echo(f"weakness: {weakness}")
    for amendment in card.amendments:
        echo(f"corrected after publication: {amendment}")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Folder with card.json and model.safetensors, such as a run folder.")],
    promote_it: Annotated[bool, typer.Option("--promote", help="Make it live for its task.")] = False,
    reason: Annotated[str, typer.Option(help="Reason to replace the live version. Stored on its card.")] = "",
    registry: RegistryOption = None,
) -> None:
    """Add a model that was trained elsewhere, with its task."""
    models = open_registry(registry)
    card = read_card(folder / CARD_FILE)
    before = models.get_live_id(card.task)
    known = models.read_task_catalog()
    here = known.get_task(card.task) if card.task in known else card.task_definition
    if not (extends(here, card.task_definition) or extends(card.task_definition, here)):
        raise MedSegError(
            f"the labels of the task {card.task!r} in this registry differ from those on the card of {card.id}."
        )
    if promote_it and before and not reason.strip():
        raise MedSegError(f"{before} is live for {card.task!r}. Add --reason to say why {card.id} replaces it.")
    added = models.add(folder, reason.strip())
    if promote_it:
        models.promote(added.id, reason.strip())
    advice = "it is live" if promote_it else f"choose it in the window, or: medseg models promote {added.id}"
    echo(f"{added.id} is added for the task {added.task!r}; {advice}.")


@app.command()
def promote(
    model: ModelArgument,
    reason: Annotated[str, typer.Option(help="Reason; required if it was never live. Stored on its card.")] = "",
    registry: RegistryOption = None,
) -> None:
    """Make a version live for its task.

    The versions are not compared. To promote a version only if it is better, use `medseg train project --promote`.
    """
    models = open_registry(registry)
    was_live_before = any(change.model == model for change in models.read_history(models.get_card(model).task))
    bundled = models.get_folder(model).is_relative_to(models.bundled_dir)
    first = not models.get_live_id(models.get_card(model).task)
    if not (reason.strip() or was_live_before or bundled or first):
        raise MedSegError(
            f"{model} was never live. Add --reason to say why it goes live; the reason is stored on its card."
        )
    echo(f"{models.promote(model, reason.strip()).id} is live.")


@app.command("roll-back")
def roll_back(task: TaskOption = DEFAULT_TASK, registry: RegistryOption = None) -> None:
    """Make the previous live version live again."""
    models = open_registry(registry)
    models.read_task_catalog().get_task(task)
    echo(f"{models.roll_back(task).id} is live.")


app.command()(export.export)
app.command("import")(import_weights.import_weights)
app.command()(network_summary.summary)


def _list_live_ids(models: ModelRegistry) -> set[str]:
    return {models.get_live_id(task) for task in {card.task for card in models.list_versions()}}


def _describe_version(card: ModelCard, live: set[str]) -> dict[str, object]:
    return {
        "model": card.id,
        "task": card.task,
        "live": card.id in live,
        "parent": card.lineage.parent,
        "hold_out": [score.model_dump() for score in card.hold_out],
    }
