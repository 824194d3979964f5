"""`medseg predict` of archives, studies and files of several images: which of them are meant."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.workflow.workspace import PACKAGE_DIR

Call = Callable[..., tuple[int, str, str]]
CT = PACKAGE_DIR / "samples" / "ct_a0001" / "dicom"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A zip archive of a CT series of three slices, and a 4-D NIfTI of two volumes."""
    slices = [formats.read(path) for path in sorted(CT.iterdir())[8:11]]
    values = np.stack([image.pixels for image in slices] * 2).reshape(2, 3, *slices[0].pixels.shape)
    volumes = np.transpose(values, (3, 2, 1, 0)).astype(np.int16)
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(CT.iterdir())[8:11]:
            archive.write(path, f"study/ct/{path.name}")
        nib.save(nib.Nifti1Image(volumes, np.diag([-0.7, -0.7, 5, 1])), tmp_path / "perfusion.nii.gz")
        archive.write(tmp_path / "perfusion.nii.gz", "study/perfusion.nii.gz")
    return tmp_path / "study.zip"


def test_one_series_of_an_archive_is_chosen_from_a_list(
    medseg: Call, registry: Path, tmp_path: Path, study: Path
) -> None:
    common = ("predict", study, "-o", tmp_path / "out", "--registry", registry, "--device", "cpu")
    code, out, _ = medseg(*common, "--series", "list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert "perfusion.nii.gz volume 2" in lines[1]
    assert "3 slices" in lines[2]
    assert len(json.loads(medseg(*common, "--series", "list", "--json")[1])["series"]) == 3
    code, out, err = medseg(*common, "--json")
    assert code == 1, "the volumes were not chosen, the series is predicted"
    answer = json.loads(out)
    assert len(answer["files"]) == 1
    assert "--series 1" in answer["errors"][0]
    assert "study.zip" in answer["files"][0]["image"][0]
    code, out, err = medseg(*common, "--series", "2", "--json")
    assert code == 0, err
    (file,) = json.loads(out)["files"]
    assert Path(file["labels"]).name == "perfusion_volume2_labels.tif"
    assert file["image"] == [str(study / "study/perfusion.nii.gz/perfusion_volume2.nii.gz")]
    code, _, err = medseg(*common, "--series", "liver")
    assert code == 1
    assert "no series is 'liver'" in err
    assert "perfusion.nii.gz volume 1" in err


def test_the_axes_of_an_array_are_an_option(medseg: Call, registry: Path, tmp_path: Path) -> None:
    image = formats.read(sorted(CT.iterdir())[8])
    np.save(tmp_path / "scans.npy", np.stack([image.pixels, image.pixels[::-1]], axis=-1))
    common = ("predict", tmp_path / "scans.npy", "-o", tmp_path / "out", "--registry", registry, "--device", "cpu")
    code, out, err = medseg(*common, "--axes", "yxn", "--spacing", "0.8,0.7", "--series", "2", "--json")
    assert code == 0, err
    (file,) = json.loads(out)["files"]
    assert file["image"] == [str(tmp_path / "scans.npy" / "scans_axesYXN_0.8x0.7mm_image2.npy")]
    labels = formats.read_labels(Path(file["labels"]), formats.read(Path(file["image"][0])))
    assert labels.shape == image.pixels.shape
    assert file["sizes"]["right lung"]["unit"] == "mm2"
    for wrong in (("--axes", "ZYXC"), ("--axes", "Q"), ("--spacing", "1,1"), ("--axes", "YXN", "--spacing", "x")):
        code, _, err = medseg(*common, *wrong)
        assert code == 1
        assert "--axes" in err or "axes" in err or "spacing" in err
