"""A real server on loopback trains a real, tiny network, and the version comes back."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from remote_phantoms import events_of, remote_run
from workflow_phantoms import real_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import check_version_folder, read_card
from napari_medseg.workflow.remote import process
from napari_medseg.workflow.remote.remote_run import send_to_server
from napari_medseg.workflow.remote.server_link import check_server
from napari_medseg.workflow.remote.server_settings import ServerSettings, write_server
from napari_medseg.workflow.serving import server as serving
from napari_medseg.workflow.serving.tokens import TokenFile
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import CANCEL_FILE, Failed, Finished


@contextmanager
def running_server(folder: Path) -> Iterator[ServerSettings]:
    """A server without an engine; yields the settings of a person who uses it."""
    tokens = TokenFile(folder / "tokens.json")
    token = tokens.add("vera")
    made = serving.ServerSettings(folder / "server", tokens, devices=("cpu",), python=sys.executable)
    ready, end, ports, loops = threading.Event(), asyncio.Event(), [], []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with serving.run_server(made) as running:
            ports.append(running.port)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield ServerSettings(address=f"ws://127.0.0.1:{ports[0]}", token=SecretStr(token))
    finally:
        loops[0].call_soon_threadsafe(end.set)
        thread.join(20)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerSettings]:
    monkeypatch.setattr("napari_medseg.inference.engine.client.Engine.start", lambda self: None)
    with running_server(tmp_path / "serving") as made:
        yield made


class TrainingThread(subprocess.Popen[bytes]):
    """Trains in this process, which has torch already; for the server it is a process."""

    def __init__(self, work: Path) -> None:
        from training.__main__ import main

        self.thread = threading.Thread(target=main, args=([str(work)],), daemon=True)
        self.thread.start()
        self.pid = 0

    def poll(self) -> int | None:
        return None if self.thread.is_alive() else 0

    def __del__(self) -> None:
        """Nothing was opened."""


def test_a_run_trains_on_the_server_and_its_version_comes_back(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: ServerSettings
) -> None:
    folder = remote_run(ws, monkeypatch)
    real_version(tmp_path / "registry" / "lungs-unet" / "1")  # the copy that the recipe names
    write_server(ws.registry.user_dir, settings)
    send_to_server(folder, settings.address, ws.registry.user_dir)
    monkeypatch.setattr("napari_medseg.workflow.serving.job_runner.start_training", _train)
    assert process.main([str(folder)]) == 0, (events_of(folder), (folder / "log.txt").read_text())
    assert isinstance(events_of(folder)[-1], Finished)
    card = read_card(folder / "card.json")
    check_version_folder(card, folder)
    assert (card.id, card.lineage.parent) == ("lungs-unet@2", "lungs-unet@1")
    assert "patient" in (folder / "report.html").read_text(encoding="utf-8")
    assert not list(folder.glob("checkpoint*")), "checkpoints stay on the server"
    secret = settings.token.get_secret_value().encode()
    written = [path for path in ws.project.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if secret in path.read_bytes()], "no token is in a project"
    left = list((tmp_path / "serving" / "server" / "jobs").rglob("job.json"))
    assert not left, "a job is deleted after it was fetched"


def _train(work: Path) -> TrainingThread:
    (work / CANCEL_FILE).touch()  # after the first epoch
    return TrainingThread(work)


def test_a_wrong_token_is_said_and_the_run_ends(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: ServerSettings
) -> None:
    folder = remote_run(ws, monkeypatch)
    wrong = settings.model_copy(update={"token": SecretStr("medseg_0123456789ab_" + "x" * 43)})
    write_server(ws.registry.user_dir, wrong)
    send_to_server(folder, settings.address, ws.registry.user_dir)
    assert process.main([str(folder)]) == 1
    last = events_of(folder)[-1]
    assert isinstance(last, Failed)
    assert "token" in last.message
    with pytest.raises(MedSegError, match="token"):
        check_server(wrong)


def test_the_test_of_a_connection_says_who_one_is(settings: ServerSettings) -> None:
    check = check_server(settings)
    assert (check.host, check.user) == ("127.0.0.1", "vera")
    assert check.program
    assert 0 <= check.latency_ms < 1000
