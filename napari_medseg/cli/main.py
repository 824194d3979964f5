"""The command line `medseg`: the same functions as the window, for scripts and servers.

Exit codes: 0 done, 1 a condition that the message explains, 2 wrong usage, 3 a training run that was paused.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from napari_medseg.cli import benchmark, check, demo, evaluate, export, models, predict, queue, tasks, train
from napari_medseg.core.errors import MedSegError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Correct medical labels, and let the model learn from the corrections.",
)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(queue.queue)
app.command()(export.export)
app.command()(check.check)
app.command()(train.train)
app.command()(benchmark.benchmark)
app.command()(demo.demo)
app.add_typer(models.app, name="models")
app.add_typer(tasks.app, name="tasks")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-medseg {version('napari-medseg')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
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
