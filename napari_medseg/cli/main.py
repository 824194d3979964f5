"""The command line `medseg`: the same functions as the window, for scripts and servers.

Exit codes: 0 done, 1 failed or refused (the message gives the reason), 2 wrong usage, 3 a training run was paused.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import psutil
import typer

from napari_medseg.cli import (
    benchmark,
    check,
    demo,
    doctor,
    evaluate,
    groups,
    import_masks,
    predict,
    queue,
    tasks,
)
from napari_medseg.cli.console import INTERRUPTED, end_soon_after_interrupt, escape_unprintable, exit_at_once
from napari_medseg.cli.meter import command as meter
from napari_medseg.cli.models import group as models
from napari_medseg.cli.output import dataset, export, share
from napari_medseg.cli.project import group as project
from napari_medseg.cli.project import report
from napari_medseg.cli.remote import serve
from napari_medseg.cli.slides import group as slides
from napari_medseg.cli.train import group as train
from napari_medseg.cli.train.old_spelling import format_notice, translate_old_spelling
from napari_medseg.cli.video import group as video
from napari_medseg.core.errors import MedSegError, translate_errors

PAUSING_COMMANDS = (["train"], ["benchmark"], ["demo"])
"""Commands that save what they have when they are interrupted, which may take longer."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="Correct medical segmentations, and retrain the models on the corrections.",
)
app.command(rich_help_panel="Try it")(demo.demo)
app.command(rich_help_panel="Try it")(doctor.doctor)
app.command(rich_help_panel="Image files")(predict.predict)
app.command(rich_help_panel="Image files")(evaluate.evaluate)
app.add_typer(slides.app, name="slides", rich_help_panel="Image files")
app.command("import", rich_help_panel="Project")(import_masks.import_masks)
app.command(rich_help_panel="Project")(queue.queue)
app.command(rich_help_panel="Project")(check.check)
app.command(rich_help_panel="Project")(meter.meter)
app.command(rich_help_panel="Project")(export.export)
app.command(rich_help_panel="Project")(dataset.dataset)
app.command(rich_help_panel="Project")(share.share)
app.command(rich_help_panel="Project")(report.report)
app.add_typer(groups.app, name="groups", rich_help_panel="Project")
app.add_typer(project.app, name="project", rich_help_panel="Project")
app.add_typer(video.app, name="video", rich_help_panel="Image files")
app.add_typer(train.app, name="train", rich_help_panel="Training")
app.command(rich_help_panel="Training")(benchmark.benchmark)
app.add_typer(serve.app, name="serve", rich_help_panel="Other computers")
app.add_typer(models.app, name="models", rich_help_panel="Models and tasks")
app.add_typer(tasks.app, name="tasks", rich_help_panel="Models and tasks")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-medseg {version('napari-medseg')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code.

    An error that the user can fix, or that a file, a disk or memory causes, is one line on stderr.
    """
    began_at = psutil.Process().create_time() if arguments is None else None  # a time budget includes the start-up
    escape_unprintable()
    given = list(sys.argv[1:] if arguments is None else arguments)
    translated = translate_old_spelling(given)
    if translated is not None:
        typer.echo(format_notice(given, translated), err=True)
        arguments = translated
    if arguments is None and given[:1] not in PAUSING_COMMANDS:
        end_soon_after_interrupt()
    try:
        with translate_errors():
            app(args=None if arguments is None else list(arguments), prog_name="medseg", obj=began_at)
    except MedSegError as error:
        typer.echo(f"medseg: {error}", err=True)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED and arguments is None:
            exit_at_once()
        raise
