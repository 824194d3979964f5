"""Learning at Accept on a server: the state comes back, or nothing does."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from remote_phantoms import DeskLink
from workflow_phantoms import accepted, phantom, real_version

from napari_medseg.inference.predictor import Predictor
from napari_medseg.workflow.learning.lesson import plan_lesson, write_lesson
from napari_medseg.workflow.learning.states import read_state
from napari_medseg.workflow.remote.mirror import RunMirror
from napari_medseg.workflow.remote.remote_run import read_remote, send_to_server
from napari_medseg.workflow.serving.jobs import JobDesk
from napari_medseg.workflow.workspace import Workspace
from training.adapt.__main__ import main as adapt_at_server
from training.adapt.request import read_request, read_result, write_request


def test_a_state_that_was_adapted_at_the_server_comes_back_and_predicts(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: JobDesk
) -> None:
    """The real training module, in this process, which has torch already."""
    real_version(tmp_path / "registry" / "lungs-unet" / "1")
    ws.registry.promote("lungs-unet@1", "it can be adapted")
    accepted(ws, 0)
    lesson = plan_lesson(ws, "lungs")
    folder = ws.adapted.make_folder()
    assert lesson is not None
    assert write_lesson(lesson, folder)
    write_request(read_request(folder).model_copy(update={"max_steps": 4}), folder)

    def adapt(work: Path, python: str) -> subprocess.Popen[bytes]:
        request = read_request(work)
        assert (request.base, request.start) == ("versions/base", "")
        assert adapt_at_server([str(work)]) == 0
        return subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE)

    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_process", adapt)
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.ALONE_S", 600.0)
    send_to_server(folder, "ws://127.0.0.1:1", ws.registry.user_dir)
    assert RunMirror(folder, read_remote(folder).job, DeskLink(desk), "adapt", 1.0).run() == 0
    state = read_state(folder)
    assert state is not None, read_result(folder)
    assert state.corrections == read_request(folder).corrections
    assert state.sha256 != lesson.request.parent_sha256, "other weights than those of the live version"
    draft = Predictor.load(folder, device="cpu").predict_labels(phantom(1), lambda _text: None)
    assert draft.shape == phantom(1).spatial_shape


def test_an_adaptation_gives_up_when_the_server_is_gone(ws: Workspace, tmp_path: Path, desk: JobDesk) -> None:
    link = DeskLink(desk)
    link.is_cut = True
    began = time.monotonic()
    assert RunMirror(tmp_path, "0" * 32, link, "adapt", 0.3).run() == 1
    assert time.monotonic() - began < 3
