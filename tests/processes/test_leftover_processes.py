"""A training that a test started does not outlive the test run, whether pytest ends or is killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from leftover_processes import MARK, find_marked_processes

from napari_medseg.workflow.run_control import PROCESS_FILE, is_alive

SUITE = Path(__file__).with_name("leave_training_behind.py")


def start_pytest(folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", str(SUITE)]
    # without Qt and napari it starts in a second
    environment = os.environ | {"LEFTOVER_FOLDER": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.Popen(command, cwd=SUITE.parents[2], env=environment, stdout=subprocess.PIPE)


def wait_until_dead(folder: Path) -> None:
    until = time.monotonic() + 60
    while is_alive(folder, None):
        assert time.monotonic() < until, (folder / PROCESS_FILE).read_text()
        time.sleep(0.05)


def test_a_run_that_ends_takes_its_processes_along(tmp_path: Path) -> None:
    with start_pytest(tmp_path) as run:
        said, _ = run.communicate()
    assert run.returncode == 0, said.decode()
    assert (tmp_path / PROCESS_FILE).exists()
    assert not is_alive(tmp_path, None), "it was killed before pytest ended"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_killed_run_takes_its_processes_along(tmp_path: Path) -> None:
    (tmp_path / "stay").touch()
    with start_pytest(tmp_path) as run:
        while not (tmp_path / PROCESS_FILE).exists():
            assert run.poll() is None
            time.sleep(0.05)
        assert is_alive(tmp_path, None)
        run.kill()
    wait_until_dead(tmp_path)


def test_only_processes_with_the_mark_are_found(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    marks = {"ours": "run", "theirs": "other", "nested": "other/run/inner"}
    started = {
        name: subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {MARK: mark})
        for name, mark in marks.items()
    }
    try:
        found = {process.pid for process in find_marked_processes("run")}
        assert found == {started["ours"].pid, started["nested"].pid}
        own = os.environ[MARK].rpartition("/")[2]
        assert psutil.Process().pid not in {process.pid for process in find_marked_processes(own)}
    finally:
        for process in started.values():
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def test_a_detached_process_of_this_run_carries_its_mark(tmp_path: Path) -> None:
    from napari_medseg.workflow.run_control import start_detached

    process = start_detached([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    try:
        assert json.loads((tmp_path / PROCESS_FILE).read_text())["pid"] == process.pid
        own = os.environ[MARK].rpartition("/")[2]
        until = time.monotonic() + 20
        # a process that replaces its program, as `nice` does, has no environment for a moment
        while process.pid not in {found.pid for found in find_marked_processes(own)}:
            assert time.monotonic() < until, "it has no mark"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
