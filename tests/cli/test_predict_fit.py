"""`medseg predict` refuses what the task is not for, and says what an answer rests on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import noise, write_slice
from pydicom import uid

Call = Callable[..., tuple[int, str, str]]
SIZE = (64, 64)


def film(path: Path, **changes: Any) -> Path:
    made = {"Modality": "DX", "SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "RescaleIntercept": 0}
    return write_slice(path, noise(SIZE), None, **made | changes)


def test_images_of_another_kind_are_refused_by_name_and_the_rest_goes_on(
    medseg: Call, registry: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    film(folder / "film.dcm")
    film(folder / "side.dcm", ViewPosition="LL")
    film(folder / "us.dcm", Modality="US", SOPClassUID=uid.UltrasoundImageStorage)
    film(folder / "phase.dcm", Modality="MR", SOPClassUID=uid.MRImageStorage, RescaleSlope=4, RescaleIntercept=-4096)
    film(folder / "sc.dcm", Modality="OT", SOPClassUID=uid.SecondaryCaptureImageStorage)
    film(folder / "seg.dcm", Modality="SEG", SOPClassUID=uid.SegmentationStorage)
    arguments = ("predict", folder, "-o", tmp_path / "out", "--registry", registry, "--device", "cpu", "--json")
    code, out, _ = medseg(*arguments)
    answer = json.loads(out)
    assert code == 1
    notes = {Path(entry["image"][0]).name: entry["notes"] for entry in answer["files"]}
    assert set(notes) == {"film.dcm", "sc.dcm"}
    assert notes["film.dcm"] == []
    assert "secondary capture (OT); it looks grey" in notes["sc.dcm"][0]
    assert len(answer["errors"]) == 3
    assert all("--force" in error for error in answer["errors"])
    assert "seg.dcm (SEG)" in answer["skipped"][0]
    code, out, _ = medseg(*arguments, "--overwrite", "--force")
    answer = json.loads(out)
    assert code == 0, "what was skipped is no error"
    assert len(answer["files"]) == 5
    side = next(entry for entry in answer["files"] if entry["image"][0].endswith("side.dcm"))
    assert "Forced: the image is a lateral view" in side["notes"][0]


@pytest.mark.parametrize("name", ["RT dose", "presentation state"])
def test_an_object_without_an_image_that_is_named_by_hand_is_an_error(
    medseg: Call, registry: Path, tmp_path: Path, name: str
) -> None:
    sop = {"RT dose": uid.RTDoseStorage, "presentation state": uid.GrayscaleSoftcopyPresentationStateStorage}[name]
    path = write_slice(tmp_path / "a.dcm", np.ones(SIZE, np.uint16), SOPClassUID=sop, Modality="")
    code, _, err = medseg("predict", path, "-o", tmp_path / "out", "--registry", registry)
    assert code == 1
    assert "DICOM without an image" in err
