"""`medseg tasks`: tasks are made, listed and removed."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import phantom

from napari_medseg.core.records import Case
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_a_task_is_made_listed_and_removed(medseg: Call, tmp_path: Path) -> None:
    where = ("--registry", tmp_path / "registry")
    code, out, _ = medseg(
        "tasks", "add", "knee", "--labels", "bone,cartilage", "--colours", "#112233,#445566", "--modality", "MR", *where
    )
    assert code == 0
    assert "1 bone #112233, 2 cartilage #445566" in out
    code, out, _ = medseg("tasks", "list", "--json", *where)
    knee = next(entry for entry in json.loads(out) if entry["task"] == "knee")
    assert (knee["own"], knee["channels"], knee["live"]) == (True, 1, None)
    assert medseg("tasks", "add", "knee", "--labels", "x", *where)[0] == 1
    assert "3 channels" in medseg("tasks", "add", "x", "--labels", "x", "--channels", 3, "--modality", "ct", *where)[2]
    ws = Workspace.open(tmp_path / "project", tmp_path / "registry")
    add_cases(ws, [phantom(1)], "knee")
    ws.close()
    code, _, err = medseg("tasks", "remove", "knee", "--project", tmp_path / "project", *where)
    assert (code, "used by 1 cases" in err) == (1, True)
    assert medseg("tasks", "remove", "knee", "--project", tmp_path / "other", *where)[0] == 0
    assert '"knee"' not in medseg("tasks", "list", "--json", *where)[1]
    again = Workspace.open(tmp_path / "project", tmp_path / "registry")
    assert again.tasks.get_task("knee").labels[0].colour == "#112233", "the project keeps what its cases need"
    assert [case.task for case in again.project.read_records(Case)] == ["knee"]
    again.close()
