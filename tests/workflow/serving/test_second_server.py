"""A server that cannot start harms nothing of the one that runs, or of its runs."""

import asyncio
import socket
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.serving.server import run_server
from napari_medseg.workflow.serving.session import ServerSettings, lock_folder
from napari_medseg.workflow.serving.tokens import TokenFile


def start(settings: ServerSettings) -> None:
    async def serve() -> None:
        async with run_server(settings):
            pass

    asyncio.run(serve())


def test_a_second_server_in_a_folder_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    for name in ("work/probabilities-1", "versions/.receiving-1/card.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    before = sorted(folder.rglob("*"))
    with lock_folder(folder), pytest.raises(MedSegError, match=r"another server uses .*--folder"):
        start(ServerSettings(folder, TokenFile(tmp_path / "tokens.json")))
    assert set(folder.rglob("*")) >= set(before)
    assert not (folder / "jobs").exists()


def test_a_server_whose_port_is_taken_starts_no_run_and_leaves_the_folder_free(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        start(ServerSettings(folder, TokenFile(tmp_path / "tokens.json"), port=other.getsockname()[1]))
    assert not (folder / "jobs").exists(), "runs begin when the port is known to be free"
    with lock_folder(folder):
        pass
