"""How commands print: results on stdout, progress and notices on stderr."""

import json
from typing import Any

import typer
from rich.console import Console


def echo(text: str = "") -> None:
    """Print a line of the result."""
    typer.echo(text)


def echo_json(content: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
    """Print one JSON document."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def make_progress_console(*, quiet: bool) -> Console:
    """Return the console that shows progress: stderr, or nothing if `quiet`."""
    return Console(stderr=True, quiet=quiet)
