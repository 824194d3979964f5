"""Learning at Accept on a server: the state comes back, or nothing does."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from remote_phantoms import WEIGHTS, DeskLink
from workflow_phantoms import accepted, write_version

from napari_medseg.workflow.learning.lesson import plan_lesson, write_lesson
from napari_medseg.workflow.learning.states import read_state
from napari_medseg.workflow.remote.mirror import RunMirror
from napari_medseg.workflow.remote.remote_run import read_remote, send_to_server
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.workspace import Workspace
from training.adapt.request import AdaptResult, read_request, write_result


def test_an_adaptation_comes_back_with_its_result_last(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    accepted(ws, 0)
    lesson = plan_lesson(ws, "lungs")
    folder = ws.adapted.make_folder()
    assert lesson is not None
    assert write_lesson(lesson, folder)

    def adapt(work: Path, python: str) -> subprocess.Popen[bytes]:
        request = read_request(work)
        assert (request.base, request.start) == ("versions/base", "")
        assert (work / request.base / "model.safetensors").is_file()
        write_version(work, version=1, weights=WEIGHTS)
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        write_result(AdaptResult(kept=True, weights_sha256=digest), work)
        return subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_process", adapt)
    send_to_server(folder, "ws://127.0.0.1:1", tmp_path)
    assert RunMirror(folder, read_remote(folder).job, DeskLink(desk), "adapt", 1.0).run() == 0
    state = read_state(folder)
    assert state is not None
    assert state.corrections == read_request(folder).corrections


def test_an_adaptation_gives_up_when_the_server_is_gone(ws: Workspace, tmp_path: Path, desk: JobDesk) -> None:
    link = DeskLink(desk)
    link.is_cut = True
    began = time.monotonic()
    assert RunMirror(tmp_path, "0" * 32, link, "adapt", 0.3).run() == 1
    assert time.monotonic() - began < 3
