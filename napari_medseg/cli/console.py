"""How commands print: results on stdout, progress and notices on stderr.

Redirected output has the encoding of the system, on Windows often cp1252. What it lacks is printed as an escape.
"""

import io
import json
import sys
from typing import Any

import typer
from rich.console import Console

from napari_medseg.core.file_names import make_printable


def escape_unprintable() -> None:
    """Let stdout and stderr take any text; characters that their encoding lacks are shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so in a process without a console, where it is `None`
            stream.reconfigure(errors="backslashreplace")


def echo(text: str = "") -> None:
    """Print a line of the result; bytes of file names that are no text are shown as escapes."""
    typer.echo(make_printable(text))


def echo_json(content: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
    """Print one JSON document; only an output in Unicode gets characters beyond ASCII, others get JSON's escapes."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    typer.echo(make_printable(json.dumps(content, indent=2, ensure_ascii=not is_unicode)))


def make_progress_console(*, quiet: bool) -> Console:
    """Return the console that shows progress: stderr, or nothing if `quiet`."""
    return Console(stderr=True, quiet=quiet)
