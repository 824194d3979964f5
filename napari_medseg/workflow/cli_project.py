"""`medseg queue`, `export` and `train`: what a project holds, brought on by the same functions as the window uses."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow import cli_places as places
from napari_medseg.workflow import cli_show, improve
from napari_medseg.workflow.cli_own_data import Wishes, continue_own, train_own
from napari_medseg.workflow.cli_retrain import Retraining, continue_run, discard_run, retrain
from napari_medseg.workflow.export import accepted_rows, export_corrections, items_of
from napari_medseg.workflow.queue import waiting

OWN = "Training on folders of your own"


def queue(
    task: places.TaskOption = "lungs",
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """List the cases that nobody has decided on, the one that teaches most per minute first."""
    with places.opened(project, registry) as ws:
        rows = waiting(ws, task)
    if as_json:
        entries = [
            {"case": row.case.id, "name": row.case.name, "state": row.state, "uncertainty": row.uncertainty}
            | {"group": row.case.group, "held_out": row.case.held_out, "sources": list(row.case.sources)}
            for row in rows
        ]
        places.say_json(entries)
        return
    for row in rows:
        unsure = "" if row.uncertainty is None else f"  uncertainty {row.uncertainty:.4f}"
        places.say(f"{row.case.name}  {row.state}{unsure}{'  hold-out' if row.case.held_out else ''}")
    if not rows:
        places.say("No case is waiting.")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; made where it is missing.")],
    suffix: Annotated[str, typer.Option(help=f"Format: {', '.join(formats.WRITERS)}.")] = ".tif",
    task: places.TaskOption = "lungs",
    with_images: Annotated[bool, typer.Option("--with-images", help="Write each image beside its labels.")] = False,
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """Write accepted labels with provenance.json and measurements.csv."""
    with places.opened(project, registry) as ws:
        paths = export_corrections(items_of(ws, accepted_rows(ws, task)), output, suffix, with_images=with_images)
    if as_json:
        places.say_json([str(path) for path in paths])
        return
    for path in paths:
        places.say(str(path))


def train(
    source: Annotated[
        Path | None,
        typer.Argument(help="A run folder, with --continue that of own data; with --show-batch a base recipe, too."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="What is to be segmented; lungs without it.", show_default=False)
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", "--budget-s", help="Seconds for the run, comparison included; 90 for corrections.", min=1.0
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same result on a CPU.")] = 0,
    promote: Annotated[bool, typer.Option("--promote", help="Go live if the hold-out says better.")] = False,
    reason: Annotated[str, typer.Option(help="With --promote: go live in any case; it goes on the card.")] = "",
    images: Annotated[
        Path | None, typer.Option(help="Own images instead of a project's.", rich_help_panel=OWN, show_default=False)
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Their masks, paired by name: a folder of PNG, TIFF, NIfTI or Aperio XML, or a COCO file.",
            rich_help_panel=OWN,
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Names of the values 1, 2 ... of the masks; --task without.", rich_help_panel=OWN)
    ] = "",
    name: Annotated[str, typer.Option(help="Of the model and of its new task.", rich_help_panel=OWN)] = "",
    values: Annotated[
        str,
        typer.Option(
            help="Values in the masks, as in 128,255 or 31+32,40, where they are not 1, 2 ...", rich_help_panel=OWN
        ),
    ] = "",
    binarise: Annotated[
        bool, typer.Option("--binarise", help="Whatever is drawn is the one label; JPEG, too.", rich_help_panel=OWN)
    ] = False,
    ignore: Annotated[
        int | None, typer.Option(help="Value in the masks of what nobody decided on, as 255.", rich_help_panel=OWN)
    ] = None,
    group_by: Annotated[
        str, typer.Option(help="Regular expression whose match in a name is the patient.", rich_help_panel=OWN)
    ] = "",
    hold_out: Annotated[str, typer.Option(help="Patients that judge; one in five without.", rich_help_panel=OWN)] = "",
    instances: Annotated[
        bool, typer.Option("--instances", help="Masks have a number for each object.", rich_help_panel=OWN)
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(help="By the number of images without.", rich_help_panel=OWN, min=1)
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="JSON or TOML that changes the defaults.", rich_help_panel=OWN)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; new or empty.", rich_help_panel=OWN, show_default=False)
    ] = None,
    skip_mismatches: Annotated[
        bool, typer.Option("--skip-mismatches", help="Leave out what does not fit.", rich_help_panel=OWN)
    ] = False,
    check_only: Annotated[
        bool, typer.Option("--check", help="List what does not fit, and train nothing.", rich_help_panel=OWN)
    ] = False,
    show_batch: Annotated[
        Path | None, typer.Option(help="Train nothing: write a picture of what the network sees to this PNG.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="With --show-batch and a base recipe: its folder.")] = None,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on with a paused or interrupted run: the task's, or SOURCE.")
    ] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Give up the task's paused or interrupted run.")] = False,
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """Retrain the live model on the corrections of a project, or train its task's first model.

    With --images and --masks a model is trained on folders instead, and no project is touched. Ctrl-C asks the run to
    stop and keeps its best so far. Exit code 1 where the run failed, or --promote was refused, 3 where it was paused.
    """
    if discard:
        discard_run(task or "lungs", (project, registry))
        return
    if go_on and source is not None:
        continue_own(source, as_json=as_json)
        return
    if source is not None:
        cli_show.show_batch(show_batch, source, data)
        return
    if show_batch is not None and images is None:
        with places.opened(project, registry) as ws:
            cli_show.show_batch(show_batch, cli_show.last_run_folder(ws, task or "lungs"), None)
        return
    if images is None and masks is None:
        wanted = Retraining(task or "lungs", budget or improve.DEFAULT_BUDGET_S, seed, promote, reason)
        begin = continue_run if go_on else retrain
        begin(wanted, (project, registry), as_json=as_json)
        return
    if images is None or masks is None:
        raise MedSegError("own data need both --images and --masks.")
    wishes = Wishes(
        images=images,
        masks=masks,
        labels=labels,
        task=task or "",
        name=name,
        values=values,
        binarise=binarise,
        ignore=ignore,
        group_by=group_by,
        hold_out=hold_out,
        out=out,
        recipe=recipe,
        epochs=epochs,
        budget_s=budget,
        seed=seed,
        instances=instances,
        skip_mismatches=skip_mismatches,
        check_only=check_only,
        show_batch=show_batch,
    )
    train_own(wishes, registry, as_json=as_json)
