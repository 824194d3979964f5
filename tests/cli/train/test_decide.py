"""`medseg train decide`: a version that waits is promoted or kept, and no run starts before."""

from collections.abc import Callable
from pathlib import Path

from napari_medseg.core.records import Run, RunState
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import WEIGHTS_FILE

Call = Callable[..., tuple[int, str, str]]


def test_a_version_that_waits_is_named_before_a_new_run_and_by_the_command(
    medseg: Call, ws: Workspace, tmp_path: Path
) -> None:
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir()
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FINISHED, 1, None, "2025"))
    ws.close()
    where = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    code, _, err = medseg("train", "project", *where)
    assert (code, "medseg train decide" in err) == (1, True), err
    code, _, err = medseg("train", "decide", "--task", "covid", *where)
    assert (code, "no new version that waits" in err) == (1, True), err
