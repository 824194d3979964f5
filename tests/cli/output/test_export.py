"""`medseg export`: the accepted labels of a project as files."""

import json
from collections.abc import Callable
from pathlib import Path

from workflow_phantoms import accepted

from napari_medseg.workflow.case_notes.notes import set_note
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


def test_export_writes_labels_with_provenance(
    medseg: Call, ws: Workspace, tmp_path: Path, dropped: Callable[[int], object]
) -> None:
    dropped(0)
    set_note(ws, accepted(ws, 0), "blurred")
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    assert medseg("export", "-o", tmp_path / "bad", "--suffix", ".bmp", *place)[0] == 1
    code, out, _ = medseg("export", "-o", tmp_path / "out", "--with-images", "--json", *place)
    assert code == 0
    names = sorted(Path(path).name for path in json.loads(out))
    assert names == ["measurements.csv", "patient-1_case-1_image.tif", "patient-1_case-1_labels.tif", "provenance.json"]
    for choice, note in (("--without-notes", None), ("--with-notes", "blurred")):
        assert medseg("export", "-o", tmp_path / "out", choice, *place)[0] == 0
        assert json.loads((tmp_path / "out" / "provenance.json").read_text())["cases"][0]["note"] == note
