"""`medseg train discard`: a paused run is given up, and one that is not paused is left alone."""

from collections.abc import Callable
from pathlib import Path

from napari_medseg.core.records import Run, RunState
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_a_paused_run_is_discarded_once(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    (ws.project.folder / "runs" / "r1").mkdir()
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.PAUSED, 1, None, "2025"))
    ws.close()
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    assert medseg("train", "discard", "--task", "covid", *where)[0] == 1, "it has no run"
    code, out, err = medseg("train", "discard", *where)
    assert (code, "The run r1 is discarded" in out) == (0, True), err
    again = Workspace.open(ws.project.folder, tmp_path / "registry")
    assert again.project.get_record(Run, "r1").state is RunState.DISCARDED
    again.close()
    code, _, err = medseg("train", "discard", *where)
    assert (code, "medseg train project --task lungs" in err) == (1, True)
