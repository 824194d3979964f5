"""What a test run starts ends with it, also where pytest is killed.

A training outlives the window by design, so it would outlive a test run, too. A run marks its environment, and each
process that it starts inherits the mark. A watcher, a process of its own, waits for the end of the run, whatever it is,
and kills all that carry the mark.
"""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

MARK = "MEDSEG_TEST_RUN"
TIMEOUT_S = 30.0


class Watcher:
    """Marks the environment of this process, and kills what carries the mark at its end or when `stop` is called."""

    def __init__(self) -> None:
        inherited = os.environ.pop(MARK, None)  # of a run that started this one: its watcher is to find ours, too
        self.mark = uuid.uuid4().hex
        command = [sys.executable, str(Path(__file__).resolve()), self.mark]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=os.name == "posix")
        os.environ[MARK] = self.mark if inherited is None else f"{inherited}/{self.mark}"

    def stop(self) -> None:
        """Kill what is left now; returns when it is dead."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait(TIMEOUT_S)


def find_marked_processes(mark: str) -> list[psutil.Process]:
    """Return the processes of a run that still work, without this one and the one that started it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # of another user, or gone in the meantime
            is_ours = mark in process.environ().get(MARK, "").split("/")
            if is_ours and process.pid not in (os.getpid(), os.getppid()):
                found.append(process)
    return found


def kill_marked_processes(mark: str) -> None:
    """Kill them, and those that they start meanwhile."""
    until = time.monotonic() + TIMEOUT_S
    while (left := find_marked_processes(mark)) and time.monotonic() < until:
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)


if __name__ == "__main__":
    sys.stdin.buffer.read()  # it ends with the process that holds the other end, however that dies
    kill_marked_processes(sys.argv[1])
