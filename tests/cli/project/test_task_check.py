"""Which project and task a command is about: slips in their names are said, and make nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_phantoms import accepted

from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]

COMMANDS = (
    ("queue",),
    ("check",),
    ("export", "-o", "out"),
    ("share", "-o", "out"),
    ("dataset", "-o", "out"),
    ("train", "project"),
    ("train", "decide"),
    ("train", "discard"),
    ("train", "resume"),
    ("train", "preview", "out.png"),
    ("video", "export", "-o", "out"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", [*COMMANDS, ("groups", "list")], ids=" ".join)
def test_a_folder_without_a_project_is_refused_and_stays_empty(
    medseg: Call, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "images").mkdir()
    for folder in ("images", "nothing"):
        code, _, err = medseg(*command, "--project", folder, "--registry", tmp_path / "registry")
        assert code == 1
        assert f"{folder} holds no project" in err
    assert not (tmp_path / "nothing").exists()
    assert not list((tmp_path / "images").iterdir())


def test_tasks_that_are_not_meant(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    for command in COMMANDS:
        code, _, err = medseg(*command, "--task", "nucleus", *place)
        assert (code, "unknown task 'nucleus'; choose one of" in err) == (1, True), command
        err = medseg(*command, "--task", "nuclei", *place)[2]
        assert "no case of Nuclei (H&E). It has cases of other tasks: --task lungs" in err, command
    assert "other tasks" not in medseg("queue", *place)[2]


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_an_unknown_task_is_not_taken_for_one_without_a_model(medseg: Call, tmp_path: Path, command: str) -> None:
    images = ("--images", tmp_path, "--labels", tmp_path) if command == "evaluate" else (tmp_path, "-o", "out")
    code, _, err = medseg(command, *images, "--task", "nucleus", "--registry", tmp_path / "registry")
    assert (code, "unknown task 'nucleus'; choose one of" in err) == (1, True)
