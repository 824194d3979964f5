"""A server in this process, reached by a link that a test can cut."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_phantoms import QUICK, accepted, write_version

from napari_medseg.core.records import Run
from napari_medseg.inference.remote.messages import LinkLost
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.remote.mirror import RunMirror
from napari_medseg.workflow.remote.remote_run import read_remote, send_to_server
from napari_medseg.workflow.serving.job_calls import decode_call
from napari_medseg.workflow.serving.job_files import UserFiles, name_user_folder
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Event, read_events

USER = "vera"
WEIGHTS = (2).to_bytes(8, "little") + b"{}"
"""The smallest safetensors file."""


class DeskLink:
    """Calls a desk of this process; `is_cut` breaks the link, and `change` alters bytes on their way here."""

    def __init__(self, desk: JobDesk, user: str = USER) -> None:
        self.desk = desk
        self.user = user
        self.is_cut = False
        self.calls: list[object] = []
        self.change: Callable[[object, bytes], bytes] = lambda _call, data: data

    def call(self, call: bytes, payload: bytes = b"") -> tuple[bytes, bytes]:
        if self.is_cut:
            raise LinkLost("the cable is out")
        said = decode_call(call)
        self.calls.append(said)
        answer, data = self.desk.handle(self.user, call, payload)
        return answer, self.change(said, data)


class MirrorThread(threading.Thread):
    """The process of a mirror, in a thread; `exit_code` is `None` until it has ended."""

    def __init__(self, folder: Path, link: DeskLink, ending: threading.Event | None = None) -> None:
        super().__init__(daemon=True)
        self.mirror = RunMirror(folder, read_remote(folder).job, link, ending=ending)
        self.exit_code: int | None = None
        self.start()

    def run(self) -> None:
        self.exit_code = self.mirror.run()


def remote_run(ws: Workspace, monkeypatch: pytest.MonkeyPatch, n_cases: int = 3) -> Path:
    """A run folder that a server is to train; no process is started."""
    monkeypatch.setattr(run_control, "start_training", lambda folder, since=None: _NoProcess())
    for number in range(n_cases):
        accepted(ws, number)
    run: Run = retrain.start_run(ws, "lungs", budget_s=600.0, seed=3, changes=QUICK)
    folder = run_control.get_run_folder(ws, run)
    send_to_server(folder, "ws://127.0.0.1:1", ws.registry.user_dir)
    return folder


class _NoProcess:
    pid = 1

    def poll(self) -> int:
        return 0


def wait_for(what: Callable[[], object], at_most_s: float, why: Callable[[], object] = lambda: "") -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < at_most_s, why()
        time.sleep(0.05)


def events_of(folder: Path) -> list[Event]:
    return [event for event, _ in read_events(folder)]


def find_work(server: Path, folder: Path, user: str = USER) -> Path:
    """The folder of a run at a server whose jobs are in `server`."""
    files = UserFiles(server / name_user_folder(user), 0)
    return files.get_work_folder(read_remote(folder).job)


TRAINER = """
import sys, time
from pathlib import Path
from training.run_folder import *
work = Path(sys.argv[1])
with hold_trainer_lock(work):
    done = sum(isinstance(event, EpochEnded) for event, _ in read_events(work))
    if not done:
        append_event(work, Started(2, 0, 1, 0, "cpu", 600.0, time.time()))
    for epoch in range(done + 1, 10_000):
        append_event(work, EpochEnded(epoch, 10_000, 0.5, 0.5, True, 1.0, 1.0))
        print("epoch", epoch, flush=True)
        time.sleep(0.05)
        if is_cancelled(work):
            break
    append_event(work, Finished(1, 0.9, True, 3.0))
"""
"""Writes what a training run writes, without torch: an epoch takes 50 ms, until it is cancelled."""


def train_epochs(work: Path) -> subprocess.Popen[bytes]:
    """Start a run at the server that trains until it is cancelled."""
    write_version(work, version=2, weights=WEIGHTS, parent="lungs-unet@1")
    log = (work / "log.txt").open("ab")
    return subprocess.Popen([sys.executable, "-c", TRAINER, str(work)], stdout=log, stderr=log)
