"""Prints at the end of a test run where a worker process crashed: xdist says only which test was running."""

import faulthandler
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


class CrashTraces:
    """Lets each worker write the stacks of its threads to a file when it crashes, and prints them with the summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_worker = hasattr(config, "workerinput")
        self._prefix = f"medseg-crash-{os.getppid() if self._is_worker else os.getpid()}-"

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self) -> Iterator[None]:
        """Take the place of pytest's own fault handler: what it prints is far above the end of the output."""
        yield
        if self._is_worker:
            path = Path(tempfile.gettempdir(), f"{self._prefix}{os.getpid()}.txt")
            faulthandler.enable(os.open(path, os.O_WRONLY | os.O_CREAT))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the stacks, and remove the files; a worker has a summary of its own, which nobody sees."""
        if self._is_worker:
            return
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{self._prefix}*.txt")):
            if path.stat().st_size:
                terminalreporter.section(f"stacks of the worker process {path.stem.rpartition('-')[2]}, which crashed")
                terminalreporter.write_line(path.read_text(errors="replace"))
            path.unlink(missing_ok=True)
