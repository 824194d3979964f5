"""`medseg train`: its options, which of them go together, and who does what they ask for."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli import batch_preview
from napari_medseg.cli.options import JsonOption, ProjectOption, RegistryOption, open_workspace
from napari_medseg.cli.train_folders import Wishes, continue_own, train_own
from napari_medseg.cli.train_project import Retraining, Where, continue_run, discard_run, retrain_project
from napari_medseg.core.errors import MedSegError

USUAL_TASK = "lungs"
PROJECT = "Training on a project's corrections"
OWN = "Training on folders of your own"

SourceArgument = Annotated[
    Path | None,
    typer.Argument(help="A run folder, with --continue that of own data; with --show-batch a base recipe, too."),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help=f"What is to be segmented; {USUAL_TASK} without it.", show_default=False),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget",
        "--budget-s",
        help="Seconds for the run, comparison included; 90 for corrections where no epochs are given.",
        min=1.0,
    ),
]
EpochsOption = Annotated[int | None, typer.Option(help="For own data by the number of images without.", min=1)]
SeedOption = Annotated[int, typer.Option(help="Same seed, same result on a CPU.")]
RecipeOption = Annotated[Path | None, typer.Option(help="JSON or TOML that changes the defaults.")]
ShowBatchOption = Annotated[
    Path | None, typer.Option(help="Train nothing: write a picture of what the network sees to this PNG.")
]
DataOption = Annotated[Path | None, typer.Option(help="With --show-batch and a base recipe: its folder.")]
ContinueOption = Annotated[
    bool,
    typer.Option("--continue", help="Go on with a paused, interrupted or prepared run: the task's, or SOURCE."),
]

PromoteOption = Annotated[
    bool, typer.Option("--promote", help="Go live if the hold-out says better.", rich_help_panel=PROJECT)
]
ReasonOption = Annotated[
    str, typer.Option(help="With --promote: go live in any case; it goes on the card.", rich_help_panel=PROJECT)
]
FromOption = Annotated[
    str,
    typer.Option(
        "--from", help="Version to start from, as in lungs-unet@1; the live one without.", rich_help_panel=PROJECT
    ),
]
DiscardOption = Annotated[
    bool, typer.Option("--discard", help="Give up the task's paused or interrupted run.", rich_help_panel=PROJECT)
]

ImagesOption = Annotated[
    Path | None, typer.Option(help="Own images instead of a project's.", rich_help_panel=OWN, show_default=False)
]
MasksOption = Annotated[
    Path | None,
    typer.Option(
        help="Their masks, paired by name: a folder of PNG, TIFF, NIfTI or Aperio XML, or a COCO file.",
        rich_help_panel=OWN,
        show_default=False,
    ),
]
LabelsOption = Annotated[
    str, typer.Option(help="Names of the values 1, 2 ... of the masks; --task without.", rich_help_panel=OWN)
]
NameOption = Annotated[str, typer.Option(help="Of the model and of its new task.", rich_help_panel=OWN)]
ValuesOption = Annotated[
    str,
    typer.Option(
        help="Values in the masks, as in 128,255 or 31+32,40, where they are not 1, 2 ...", rich_help_panel=OWN
    ),
]
BinariseOption = Annotated[
    bool, typer.Option("--binarise", help="Whatever is drawn is the one label; JPEG, too.", rich_help_panel=OWN)
]
IgnoreOption = Annotated[
    int | None, typer.Option(help="Value in the masks of what nobody decided on, as 255.", rich_help_panel=OWN)
]
GroupByOption = Annotated[
    str, typer.Option(help="Regular expression whose match in a name is the patient.", rich_help_panel=OWN)
]
HoldOutOption = Annotated[str, typer.Option(help="Patients that judge; one in five without.", rich_help_panel=OWN)]
InstancesOption = Annotated[
    bool, typer.Option("--instances", help="Masks have a number for each object.", rich_help_panel=OWN)
]
SkipOption = Annotated[
    bool, typer.Option("--skip-mismatches", help="Leave out what does not fit.", rich_help_panel=OWN)
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="List what does not fit, and train nothing.", rich_help_panel=OWN)
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the run; new or empty.", rich_help_panel=OWN, show_default=False),
]
PrepareOption = Annotated[
    bool, typer.Option("--prepare", help="Make the run folder only, to train it with torchrun.", rich_help_panel=OWN)
]


class Use(StrEnum):
    """What one call of the command is for, as an error names it."""

    DISCARD = "--discard"
    CONTINUE_OWN = "--continue with a run folder"
    CONTINUE = "--continue with a project's run"
    SHOW_SOURCE = "a run folder or base recipe"
    SHOW_LAST = "--show-batch of a project's last run"
    OWN_DATA = "training on folders of your own"
    CORRECTIONS = "training on a project's corrections"


_HOW = frozenset(("task", "budget", "epochs", "seed", "recipe", "as_json", "registry"))
_DECIDE = frozenset(("promote", "reason"))
TAKES: Mapping[Use, frozenset[str]] = {
    Use.DISCARD: frozenset(("discard", "task", "project", "registry")),
    Use.CONTINUE_OWN: frozenset(("go_on", "source", "as_json")),
    Use.CONTINUE: _DECIDE | {"go_on", "task", "as_json", "project", "registry"},
    Use.SHOW_SOURCE: frozenset(("source", "show_batch", "data")),
    Use.SHOW_LAST: frozenset(("show_batch", "task", "project", "registry")),
    Use.OWN_DATA: _HOW | {"show_batch"},
    Use.CORRECTIONS: _HOW | _DECIDE | {"base", "project"},
}
"""The parameters that each use takes; for own data those of their panel of the help, too."""


def train(
    context: typer.Context,
    source: SourceArgument = None,
    task: TaskOption = None,
    budget: BudgetOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    recipe: RecipeOption = None,
    promote: PromoteOption = False,
    reason: ReasonOption = "",
    base: FromOption = "",
    images: ImagesOption = None,
    masks: MasksOption = None,
    labels: LabelsOption = "",
    name: NameOption = "",
    values: ValuesOption = "",
    binarise: BinariseOption = False,
    ignore: IgnoreOption = None,
    group_by: GroupByOption = "",
    hold_out: HoldOutOption = "",
    instances: InstancesOption = False,
    skip_mismatches: SkipOption = False,
    check_only: CheckOption = False,
    out: OutOption = None,
    prepare: PrepareOption = False,
    show_batch: ShowBatchOption = None,
    data: DataOption = None,
    go_on: ContinueOption = False,
    discard: DiscardOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Retrain the live model on the corrections of a project, or train its task's first model.

    With --images and --masks a model is trained on folders instead, and no project is touched. Ctrl-C asks the run to
    stop and keep its best so far. Exit code 1 where the run failed, or --promote was refused, 3 where it was paused.
    """
    use = _checked_use(context)
    if images is not None and masks is not None:
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
            prepare=prepare,
            show_batch=show_batch,
        )
        train_own(wishes, registry, as_json=as_json)
    elif source is not None and use is Use.CONTINUE_OWN:
        continue_own(source, as_json=as_json)
    elif source is not None:
        batch_preview.show_batch(show_batch, source, data)
    elif show_batch is not None:
        _show_last(show_batch, task or USUAL_TASK, (project, registry))
    else:
        wanted = Retraining(task or USUAL_TASK, budget, seed, promote, reason, base, recipe, epochs)
        _at_project(use, wanted, (project, registry), as_json=as_json)


def _at_project(use: Use, wanted: Retraining, where: Where, *, as_json: bool) -> None:
    if wanted.reason and not wanted.promote:
        raise MedSegError("--reason is why a version goes live; add --promote, or leave it out.")
    if use is Use.DISCARD:
        discard_run(wanted.task, where)
    elif use is Use.CONTINUE:
        continue_run(wanted, where, as_json=as_json)
    else:
        retrain_project(wanted, where, as_json=as_json)


def _show_last(picture: Path, task: str, where: Where) -> None:
    with open_workspace(*where) as ws:
        batch_preview.show_batch(picture, batch_preview.last_run_folder(ws, task), None)


def _checked_use(context: typer.Context) -> Use:
    """Return what the command is for; raise `MedSegError` where an option was given that would be ignored."""
    given = {
        parameter.name or "": parameter
        for parameter in context.command.params
        if (origin := context.get_parameter_source(parameter.name or "")) is not None and origin.name == "COMMANDLINE"
    }
    use = _use_of(frozenset(given))
    if use is Use.OWN_DATA and not {"images", "masks"} <= given.keys():
        raise MedSegError("own data need both --images and --masks.")
    ignored = [
        parameter.opts[0]
        for name, parameter in given.items()
        if name not in TAKES[use] and not (use is Use.OWN_DATA and getattr(parameter, "rich_help_panel", None) == OWN)
    ]
    if ignored:
        advice = " For folders of your own give --images and --masks." if use is Use.CORRECTIONS else ""
        raise MedSegError(f"{', '.join(ignored)} cannot be used for {use}; leave it out.{advice}")
    return use


def _use_of(given: frozenset[str]) -> Use:
    """Return what a command is for from the names of the parameters that were given."""
    if "discard" in given:
        return Use.DISCARD
    if "go_on" in given:
        return Use.CONTINUE_OWN if "source" in given else Use.CONTINUE
    if "source" in given:
        return Use.SHOW_SOURCE
    if given & {"images", "masks"}:
        return Use.OWN_DATA
    return Use.SHOW_LAST if "show_batch" in given else Use.CORRECTIONS
