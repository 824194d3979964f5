"""An export goes on without a case whose files are damaged, and says so."""

from pathlib import Path

import pytest
from workflow_phantoms import accepted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.records import Case
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.workspace import Workspace


def damage(ws: Workspace, case: Case) -> None:
    path = get_image_copy_path(ws.project.folder, case.content_hash)
    path.write_bytes(path.read_bytes()[:200])


def test_the_others_are_exported(ws: Workspace, tmp_path: Path) -> None:
    broken, sound = accepted(ws, 0), accepted(ws, 1)
    damage(ws, broken)
    items = read_export_items(ws, list_accepted_rows(ws, "lungs"))
    written = export_corrections(items, tmp_path / "out", ".tif", with_images=False)
    assert [path.name for path in written if path.suffix == ".tif"] == ["patient-2_case-2_labels.tif"]
    assert sound.name == "patient 2 case 2"
    assert len(items.left_out) == 1
    assert broken.name in items.left_out_text


def test_nothing_is_written_if_no_case_can_be_read(ws: Workspace, tmp_path: Path) -> None:
    damage(ws, accepted(ws, 0))
    items = read_export_items(ws, list_accepted_rows(ws, "lungs"))
    with pytest.raises(MedSegError, match="no case can be read"):
        export_corrections(items, tmp_path / "out", ".tif", with_images=False)
    assert not (tmp_path / "out").exists()
