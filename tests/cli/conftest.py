"""Runs `medseg` in this process, on the workspace of the tests of the workflow."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pretend_gpu import GPU_ERRORS, fail_on_gpu, pretend_gpu
from workflow_fixtures import checked_samples, dropped, open_workspace, ws
from workflow_phantoms import real_version

from napari_medseg.cli.main import main
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.networks import ARCHITECTURES

__all__ = ["checked_samples", "dropped", "medseg", "open_workspace", "ws"]


@pytest.fixture
def medseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command and gives its exit code, stdout and stderr; what it starts takes one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")  # a message of a usage error stays on one line

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def lost_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes this computer one with a GPU ``cuda``, named ``Pretence 4090``, that fails when a network computes."""
    build = ARCHITECTURES["conv_unet"]
    lost = lambda card: fail_on_gpu(build(card), GPU_ERRORS["lost"])  # noqa: E731
    monkeypatch.setitem(ARCHITECTURES, "conv_unet", lost)
    with pretend_gpu(monkeypatch):
        yield


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A person's registry whose version 77 is live and can predict."""
    folder = tmp_path / "models"
    real_version(folder / "lungs-unet" / "77", version=77)
    ModelRegistry(folder, tmp_path / "none").promote("lungs-unet@77")
    (folder / "live.json").write_text(
        json.dumps({"tasks": {"lungs": [{"action": "promote", "model": "lungs-unet@77", "at": "2025"}]}}),
        encoding="utf-8",
    )
    return folder
