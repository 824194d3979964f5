"""A row whose parent is killed ends with it, so that another worker may continue its run folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.benchmark.runner import make_environment

WAITS = "import pathlib, sys, os, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"


def test_a_command_ends_when_its_parent_does(tmp_path: Path) -> None:
    supervisor, child = start_supervised(tmp_path)
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl+C, a closed terminal: the parent decides
        supervisor.send_signal(number)
    time.sleep(0.2)
    assert supervisor.poll() is None
    os.kill(child, 0)
    assert supervisor.stdin is not None
    supervisor.stdin.close()  # as the system does when whoever holds the other end is killed
    assert supervisor.wait(timeout=30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_supervisor_that_is_told_to_end_leaves_no_command_behind(tmp_path: Path) -> None:
    supervisor, child = start_supervised(tmp_path)
    supervisor.terminate()
    assert supervisor.wait(timeout=30) == 128 + signal.SIGTERM
    wait_until(lambda: not is_running(child))


def test_the_exit_code_is_that_of_the_command(tmp_path: Path) -> None:
    supervised = [sys.executable, "-m", "training.benchmark.supervised", sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(supervised, stdin=subprocess.PIPE, env=environment_here()) as process:
        assert process.wait(timeout=60) == 3


def test_processes_of_a_row_get_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [make_environment(slot, 2, 4, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0,1", "2,3", "0,1"]
    assert make_environment(1, 4, 4)["CUDA_VISIBLE_DEVICES"] == "1"


def start_supervised(folder: Path) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a supervisor of a command that waits; return it and the number of the command's process."""
    supervised = [sys.executable, "-m", "training.benchmark.supervised", sys.executable, "-c", WAITS, "pid"]
    supervisor = subprocess.Popen(supervised, stdin=subprocess.PIPE, cwd=folder, env=environment_here())
    wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text() != "")
    return supervisor, int((folder / "pid").read_text())


def is_running(process: int) -> bool:
    """Whether a process runs; one that ended, but whose end nobody waited for, does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def environment_here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def wait_until(holds, timeout_s: float = 60.0) -> None:  # noqa: ANN001
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
