"""`medseg project`: what is printed, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import accepted

from napari_medseg.core.records import Correction
from napari_medseg.workflow.workspace import Workspace

Medseg = Callable[..., tuple[int, str, str]]


def test_a_project_is_packed_checked_and_unpacked(ws: Workspace, tmp_path: Path, medseg: Medseg) -> None:
    accepted(ws, 1)
    project, archive, own = ws.project.folder, tmp_path / "a.medseg.zip", ["--registry", tmp_path / "models"]
    code, out, err = medseg("project", "pack", project, archive, *own)  # a window has it open
    assert (code, "files" in out) == (0, True)
    assert "clear names of patients" in err
    code, _, err = medseg("project", "pack", project, archive, *own)
    assert code == 1
    assert "--replace" in err
    code, out, _ = medseg("project", "check", archive, "--json", *own)
    assert (code, json.loads(out)["faults"]) == (0, [])
    code, out, _ = medseg("project", "unpack", archive, tmp_path / "elsewhere", *own)
    assert code == 0
    (tmp_path / "elsewhere" / ws.project.read_records(Correction)[0].labels_file).unlink()
    code, out, err = medseg("project", "check", tmp_path / "elsewhere", *own)
    assert code == 1
    assert "it is missing. Restore it from a backup" in out
    assert "is not as it was written" in err
    code, _, err = medseg("project", "check", tmp_path / "nothing", *own)
    assert code == 1


def test_caches_are_shown_and_cleared(ws: Workspace, tmp_path: Path, medseg: Medseg) -> None:
    accepted(ws, 1)
    project, own = ws.project.folder, ["--registry", tmp_path / "models"]
    (project / "cache").mkdir()
    (project / "cache" / "1-ab.probabilities.zip").write_bytes(b"x" * 50_000)
    code, out, _ = medseg("project", "size", project)
    assert code == 0
    assert "probabilities" in out
    assert "can be cleared" in out
    assert medseg("project", "clean", project, *own)[0] == 1, "a window has it open"
    ws.close()
    code, out, _ = medseg("project", "clean", project, "--dry-run", *own)
    assert (code, "cache/1-ab.probabilities.zip" in out) == (0, True)
    assert (project / "cache" / "1-ab.probabilities.zip").exists()
    code, out, _ = medseg("project", "clean", project, "--json", *own)
    assert json.loads(out)["cleared"] >= 50_000
    assert not list((project / "cache").iterdir())
    assert medseg("project", "clean", tmp_path / "nothing", *own)[0] == 1
    assert not (tmp_path / "nothing").exists()
