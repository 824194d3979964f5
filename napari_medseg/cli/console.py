"""How commands print: results on stdout, progress and notices on stderr.

Redirected output has the encoding of the system, on Windows often cp1252. What it lacks is printed as an escape.
"""

import contextlib
import io
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

import typer
from rich.console import Console

from napari_medseg.core.file_names import make_printable

INTERRUPT_GRACE_SECONDS = 0.4
STDERR = 2
INTERRUPTED = 128 + int(signal.SIGINT)


def escape_unprintable() -> None:
    """Let stdout and stderr take any text; characters that their encoding lacks are shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so in a process without a console, where it is `None`
            stream.reconfigure(errors="backslashreplace")


def echo(text: str = "") -> None:
    """Print a line of the result; bytes of file names that are no text are shown as escapes."""
    typer.echo(make_printable(text))


def echo_notice(text: str) -> None:
    """Print a notice on stderr, beside a result that is read by a program."""
    typer.echo(f"medseg: note: {make_printable(text)}", err=True)


def echo_json(content: Any) -> None:  # noqa: ANN401 -- whatever JSON can hold
    """Print one JSON document; only an output in Unicode gets characters beyond ASCII, others get JSON's escapes."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    typer.echo(make_printable(json.dumps(content, indent=2, ensure_ascii=not is_unicode)))


def make_progress_console(*, quiet: bool) -> Console:
    """Return the console that shows progress: stderr, or nothing if `quiet`."""
    return Console(stderr=True, quiet=quiet)


def end_soon_after_interrupt() -> None:
    """End the process if it still runs `INTERRUPT_GRACE_SECONDS` after Ctrl+C; call this in the main thread.

    Python raises `KeyboardInterrupt` only between two of its instructions. The connected components of a large volume,
    or a pass through a network, are one instruction of many seconds. Files are written whole or not at all, so the
    process can end at any time; a temporary file may remain.
    """
    heard, told = socket.socketpair()  # a pipe would not do on Windows
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_end_after_interrupt, args=(heard,), name="interrupt", daemon=True).start()


def _end_after_interrupt(heard: socket.socket) -> None:
    """Wait for the number of a signal, which the operating system's handler writes at once."""
    while received := heard.recv(1):
        if received[0] == signal.SIGINT:
            time.sleep(INTERRUPT_GRACE_SECONDS)
            exit_at_once()


def exit_at_once() -> None:
    """End the process after Ctrl+C. The usual end would free gigabytes of arrays first, and wait for threads."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.write(STDERR, b"medseg: interrupted\n")
    os._exit(INTERRUPTED)
