"""The command line `medseg`: the same functions as the window, for scripts and servers.

Exit codes: 0 done, 1 a condition that the message explains, 2 wrong usage, 3 a training run that was paused.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow import (
    cli_benchmark,
    cli_checks,
    cli_demo,
    cli_images,
    cli_models,
    cli_project,
    cli_tasks,
    cli_train,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Correct medical labels, and let the model learn from the corrections.",
)
app.command()(cli_images.predict)
app.command()(cli_images.evaluate)
app.command()(cli_project.queue)
app.command()(cli_project.export)
app.command()(cli_checks.check)
app.command()(cli_train.train)
app.command()(cli_benchmark.benchmark)
app.command()(cli_demo.demo)
app.add_typer(cli_models.app, name="models")
app.add_typer(cli_tasks.app, name="tasks")


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-medseg {version('napari-medseg')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Options of all commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code; what a person can act on is one line on stderr."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="medseg")
    except MedSegError as error:
        typer.echo(f"medseg: {error}", err=True)
        sys.exit(1)
