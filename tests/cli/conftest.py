"""Runs `medseg` in this process, on the workspace of the tests of the workflow."""

from collections.abc import Callable

import pytest
from workflow_fixtures import dropped, open_workspace, ws

from napari_medseg.cli.main import main

__all__ = ["dropped", "medseg", "open_workspace", "ws"]


@pytest.fixture
def medseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command and gives its exit code, stdout and stderr; what it starts takes one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call
