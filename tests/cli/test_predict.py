"""`medseg predict`: label files on the grid of each image, and one line where something is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from workflow_phantoms import phantom

from napari_medseg.core import formats
from napari_medseg.workflow.workspace import PACKAGE_DIR

Call = Callable[..., tuple[int, str, str]]
CT = PACKAGE_DIR / "samples" / "ct_a0001"


def test_predict_writes_labels_on_the_grid_of_each_image(medseg: Call, registry: Path, tmp_path: Path) -> None:
    formats.write_image(tmp_path / "in" / "a.tif", phantom(1))
    (tmp_path / "in" / "notes.png").write_bytes(b"\x89PNG but torn")
    slice_file = sorted((CT / "dicom").iterdir())[8]
    code, out, _ = medseg(
        *("predict", tmp_path / "in", slice_file, tmp_path / "nowhere.tif"),
        *("-o", tmp_path / "out", "--registry", registry, "--suffix", ".nii.gz", "--device", "cpu", "--json"),
    )
    assert code == 1, "files that cannot be used end with 1, the others are written"
    answer = json.loads(out)
    assert answer["model"] == "lungs-unet@77"
    assert [Path(entry["labels"]).name for entry in answer["files"]] == [
        "a_labels.nii.gz",
        f"{slice_file.stem}_labels.nii.gz",
    ]
    assert len(answer["errors"]) == 2
    assert "nowhere.tif" in " ".join(answer["errors"])
    image = formats.read(slice_file)
    labels = formats.read_labels(Path(answer["files"][1]["labels"]), image)
    sizes = answer["files"][1]["sizes"]
    assert sizes["right lung"]["voxels"] == int(np.count_nonzero(labels == 1))
    assert sizes["right lung"]["unit"] == "mm2"

    again = ("predict", slice_file, "-o", tmp_path / "out", "--registry", registry, "--suffix", ".nii.gz")
    code, out, err = medseg(*again)
    assert code == 1
    assert "exists already" in err
    code, out, _ = medseg(*again, "--overwrite")
    assert code == 0
    assert "right lung" in out


def test_images_of_one_name_do_not_overwrite_each_other(medseg: Call, registry: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        formats.write_image(tmp_path / folder / "slice.tif", phantom(1))
    medseg("predict", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", "--registry", registry)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["slice_2_labels.tif", "slice_labels.tif"]


def test_wrong_choices_are_one_line_on_stderr(medseg: Call, registry: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.tif"
    formats.write_image(image, phantom(1))
    for arguments, said in [
        (("--suffix", ".bmp"), "cannot be written as '.bmp'"),
        (("--model", "lungs-unet@9999"), "no model 'lungs-unet@9999'"),
        (("--task", "teeth"), "teeth"),
    ]:
        code, out, err = medseg("predict", image, "-o", tmp_path / "out", "--registry", registry, *arguments)
        assert (code, out) == (1, "")
        assert said in err
        assert err.startswith("medseg: ")
        assert err.count("\n") == 1
