"""`medseg share` and `medseg dataset`, and the agreement to name a patient."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from workflow_phantoms import accepted, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.project.identities import SHARED_UID
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def series(ws: Workspace, tmp_path: Path) -> tuple[object, ...]:
    """A project with an accepted case from DICOM, closed; the options that name it."""
    pixels = np.random.default_rng(0).integers(0, 900, (2, 48, 64)).astype(np.int16)
    write_series(tmp_path / "ct", pixels, PatientID="zq4711", FrameOfReferenceUID="1.2.9")
    image = formats.read(tmp_path / "ct")
    (case,) = add_cases(ws, [image], "lungs")
    accept(ws, open_review(ws, case, None), np.stack([phantom_labels()] * 2), image)
    ws.close()
    return "--project", ws.project.folder, "--registry", tmp_path / "registry"


def test_share_writes_files_and_keeps_the_map_in_the_project(
    medseg: Call, series: tuple[object, ...], tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    code, out, _ = medseg("share", "-o", tmp_path / "out", "--json", *series)
    assert code == 0
    names = {Path(path).name for path in json.loads(out)["files"]}
    assert names == {"image_0001.dcm", "image_0002.dcm", "labels.seg.dcm", "shared.json", "SHA256SUMS"}
    project = Workspace.open(Path(str(series[1])), tmp_path / "registry")
    assert "1.2.3" in project.project.identities.read_shared(SHARED_UID).values()
    project.close()


def test_what_is_not_from_dicom_is_named_once(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    code, _, told = medseg("share", "-o", tmp_path / "out", *place)
    assert code == 1
    assert told.count("patient 1 case 1") == 1
    assert "is not from DICOM" in told


def test_a_file_that_names_the_patient_is_written_only_if_one_agrees(
    medseg: Call, series: tuple[object, ...], tmp_path: Path
) -> None:
    code, _, told = medseg("export", "-o", tmp_path / "out", "--format", "rtstruct", *series)
    assert code == 1
    assert "--with-identity" in told
    assert "medseg share" in told
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
    code, out, _ = medseg("export", "-o", tmp_path / "out", "--format", "rtstruct", "--with-identity", *series)
    assert code == 0
    assert ".rtstruct.dcm" in out


def test_a_data_set_becomes_a_project(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    for number in range(3):
        accepted(ws, number)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    assert medseg("dataset", "-o", tmp_path / "out", "--format", "nnunet", *place)[0] == 0
    other = ("--project", tmp_path / "other", "--registry", tmp_path / "registry")
    code, out, _ = medseg("import", tmp_path / "out", *other)
    assert code == 0
    assert "3 accepted as corrections" in out
    (tmp_path / "out" / "data_card.json").unlink()
    code, out, _ = medseg("import", tmp_path / "out", "--project", tmp_path / "third", "--task", "lungs", *place[2:])
    assert code == 0
    assert "imported as drafts" in out  # only names of nnU-Net are left
    assert medseg("import", tmp_path / "ct", *other)[0] == 1
