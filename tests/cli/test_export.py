"""`medseg export`: the accepted labels of a project as files."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import accepted

from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_export_writes_labels_with_provenance(
    medseg: Call, ws: Workspace, tmp_path: Path, dropped: Callable[[int], object]
) -> None:
    dropped(0)
    accepted(ws, 0)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    assert medseg("export", "-o", tmp_path / "bad", "--suffix", ".bmp", *place)[0] == 1
    code, out, _ = medseg("export", "-o", tmp_path / "out", "--with-images", "--json", *place)
    assert code == 0
    names = sorted(Path(path).name for path in json.loads(out))
    assert names == ["measurements.csv", "patient-1_case-1_image.tif", "patient-1_case-1_labels.tif", "provenance.json"]
