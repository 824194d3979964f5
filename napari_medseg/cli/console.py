"""How commands print: results on stdout, progress and notices on stderr."""

import json
from typing import Any

import typer
from rich.console import Console

from napari_medseg.core.file_names import make_printable


def echo(text: str = "") -> None:
    """Print a line of the result; bytes of file names that are no text are shown as escapes."""
    typer.echo(make_printable(text))


def echo_json(content: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
    """Print one JSON document."""
    typer.echo(make_printable(json.dumps(content, indent=2, ensure_ascii=False)))


def make_progress_console(*, quiet: bool) -> Console:
    """Return the console that shows progress: stderr, or nothing if `quiet`."""
    return Console(stderr=True, quiet=quiet)
