"""A row whose parent is killed ends with it, so that another worker may continue its run folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.benchmark.runner import make_environment

WAITS = "import pathlib, sys, os, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"


def test_a_command_ends_when_its_parent_does(tmp_path: Path) -> None:
    supervised = [sys.executable, "-m", "training.benchmark.supervised", sys.executable, "-c", WAITS, "pid"]
    parent = subprocess.Popen(supervised, stdin=subprocess.PIPE, cwd=tmp_path, env=environment_here())
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    child = int((tmp_path / "pid").read_text())
    assert parent.stdin is not None
    parent.stdin.close()  # as the system does when whoever holds the other end is killed
    assert parent.wait(timeout=30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_exit_code_is_that_of_the_command(tmp_path: Path) -> None:
    supervised = [sys.executable, "-m", "training.benchmark.supervised", sys.executable, "-c", "raise SystemExit(3)"]
    with subprocess.Popen(supervised, stdin=subprocess.PIPE, env=environment_here()) as process:
        assert process.wait(timeout=60) == 3


def test_processes_of_a_row_get_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [make_environment(slot, 2, 4, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0,1", "2,3", "0,1"]
    assert make_environment(1, 4, 4)["CUDA_VISIBLE_DEVICES"] == "1"


def environment_here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def wait_until(holds, timeout_s: float = 60.0) -> None:  # noqa: ANN001
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
