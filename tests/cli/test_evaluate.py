"""`medseg evaluate`: the figures of a model against reference labels, on real CT slices."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.grouping.keyed_groups import is_keyed_group
from napari_medseg.workflow.workspace import PACKAGE_DIR

Call = Callable[..., tuple[int, str, str]]
CT = PACKAGE_DIR / "samples" / "ct_a0001"


def test_evaluate_measures_files_against_files(medseg: Call, registry: Path, tmp_path: Path) -> None:
    code, out, _ = medseg(
        *("evaluate", "--images", CT / "dicom", "--labels", CT / "labels", "--only", "A0001_z0[12]"),
        *("--group", "A[0-9]+", "-o", tmp_path / "figures", "--registry", registry, "--json"),
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["model"] == "lungs-unet@77"
    (group,) = {entry["group"] for entry in answer["images"]}
    assert is_keyed_group(group), "not the PatientID"
    assert answer["summary"][0]["n_images"] == len(answer["images"]) > 2
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".csv", ".json", ".html"}


def test_masks_of_references_are_read_with_the_options_of_training(
    medseg: Call, registry: Path, tmp_path: Path
) -> None:
    tag = Picture.Exif()
    tag[0x0112] = 6
    drawn = np.zeros((24, 24), np.uint8)
    drawn[2:9, 3:12] = 1
    for folder in ("images", "labels", "predicted"):
        (tmp_path / folder).mkdir()
    Picture.fromarray(drawn * 200 + 9).save(tmp_path / "images" / "a.jpg", exif=tag)
    lying = np.ascontiguousarray(formats.read(tmp_path / "images" / "a.jpg").storage.to_file(drawn))
    Picture.fromarray(lying * 7).save(tmp_path / "labels" / "a.png")
    Picture.fromarray(lying).save(tmp_path / "predicted" / "a.png")
    places = [word for name in ("images", "labels") for word in (f"--{name}", tmp_path / name)]
    command = ("evaluate", *places, "--predictions", tmp_path / "predicted", "--registry", registry, "--json")
    code, _, err = medseg(*command)
    assert (code, "the values 7 are unknown" in err, "--values" in err) == (1, True, True)
    code, out, _ = medseg(*command, "--values", "9,7", "--mask-orientation", "stored")
    assert code == 0
    answer = json.loads(out)
    assert answer["does_not_occur"] == ["right lung"]
    assert list(answer["summary"][0]["per_label"]) == ["left lung"]
    code, out, _ = medseg(*command, "--values", "7,9", "--mask-orientation", "stored")
    assert json.loads(out)["summary"][0]["per_label"] == {"right lung": 1.0}


@pytest.mark.usefixtures("lost_gpu")
def test_a_gpu_that_fails_is_a_notice_beside_the_json(medseg: Call, registry: Path) -> None:
    places = ("--images", CT / "dicom", "--labels", CT / "labels", "--only", "A0001_z010")
    code, out, err = medseg("evaluate", *places, "--registry", registry, "--device", "cuda", "--json")
    assert code == 0
    assert len(json.loads(out)["images"]) == 1
    assert "medseg: note: CUDA: Pretence 4090 cannot predict (CUDA error: unspecified launch failure)" in err
