"""`medseg predict`: label files on the grid of each image, and one line where something is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_files import write_series
from workflow_phantoms import phantom

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import DomainCheck, write_card
from napari_medseg.inference.out_of_domain.features import FeaturePool
from napari_medseg.inference.out_of_domain.statistics import DomainStatistics, SourceGaussians, write_statistics
from napari_medseg.networks import load_version
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
    assert list_labels(tmp_path / "out") == ["slice_2_labels.tif", "slice_labels.tif"]
    formats.write_image(tmp_path / "b" / "slice.tif", phantom(2))
    before = (tmp_path / "out" / "slice_labels.tif").read_bytes()
    (tmp_path / "a" / "slice.tif").unlink()
    code, out, _ = medseg("predict", tmp_path / "b", "-o", tmp_path / "out", "--registry", registry, "--overwrite")
    assert code == 0
    assert "slice_2_labels.tif" in out, "its own file, though it comes first now"
    assert (tmp_path / "out" / "slice_labels.tif").read_bytes() == before


def list_labels(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*_labels*"))


def test_a_patient_id_cannot_leave_the_folder_or_name_a_file(medseg: Call, registry: Path, tmp_path: Path) -> None:
    for number, patient in enumerate(("../../evil", "../../evil", "")):
        write_series(
            tmp_path / "in" / str(number),
            np.repeat(phantom(number).pixels[np.newaxis].astype(np.int16), 3, axis=0),
            PatientID=patient,
            PatientName="Doe^Jane",
            SeriesInstanceUID=f"1.2.{number}",
            SeriesNumber=number,
            RescaleIntercept=0,
        )
    arguments = ("predict", tmp_path / "in", "-o", tmp_path / "deep" / "out", "--registry", registry, "--json")
    code, out, err = medseg(*arguments)
    assert code == 0, err
    names = [Path(entry["labels"]).name for entry in json.loads(out)["files"]]
    assert list_labels(tmp_path / "deep" / "out") == sorted(names)
    assert len(set(names)) == 3
    assert not [name for name in names if "evil" in name or "Doe" in name]
    assert sorted(path.name for path in tmp_path.rglob("*") if "evil" in path.name or "Doe" in path.name) == []
    assert names[0].split("_")[0] == names[1].split("_")[0] != names[2].split("_")[0]
    assert b"evil" not in (tmp_path / "deep" / "out" / "predictions.jsonl").read_bytes()
    code, out, _ = medseg(*arguments, "--names", "patient", "--suffix", ".nii.gz")
    assert "_.._evil_series-0_labels.nii.gz" in " ".join(
        Path(entry["labels"]).name for entry in json.loads(out)["files"]
    )


def test_a_file_that_is_not_known_is_never_overwritten(medseg: Call, registry: Path, tmp_path: Path) -> None:
    formats.write_image(tmp_path / "a.tif", phantom(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_labels.tif").write_text("mine")
    call = ("predict", tmp_path / "a.tif", "-o", tmp_path / "out", "--registry", registry)
    assert "add --overwrite" in medseg(*call)[2]
    assert "does not say that it belongs to this image" in medseg(*call, "--overwrite")[2]
    assert (tmp_path / "out" / "a_labels.tif").read_text() == "mine"


def test_one_image_that_cannot_be_written_does_not_stop_the_others(
    medseg: Call, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        formats.write_image(tmp_path / "in" / f"{name}.tif", phantom(1))
    reading = formats.read_source

    def read(source: formats.ImageSource) -> Image:
        if source.name == "b.tif":
            raise MemoryError
        return reading(source)

    monkeypatch.setattr(formats, "read_source", read)
    code, out, err = medseg("predict", tmp_path / "in", "-o", tmp_path / "out", "--registry", registry)
    assert code == 1
    assert list_labels(tmp_path / "out") == ["a_labels.tif", "c_labels.tif"]
    assert "not enough memory" in err
    assert "Traceback" not in out + err


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


@pytest.mark.usefixtures("lost_gpu")
def test_a_gpu_that_fails_is_a_notice_beside_the_json(medseg: Call, registry: Path, tmp_path: Path) -> None:
    formats.write_image(tmp_path / "in" / "a.tif", phantom(1))
    command = ("predict", tmp_path / "in", "-o", tmp_path / "out", "--registry", registry, "--device", "cuda", "--json")
    code, out, err = medseg(*command)
    assert code == 0
    assert json.loads(out)["device"] == "CPU"
    assert "medseg: note: CUDA: Pretence 4090 cannot predict (CUDA error: unspecified launch failure)" in err


def test_an_image_unlike_the_training_images_is_told_and_an_old_version_says_nothing(
    medseg: Call, registry: Path, tmp_path: Path
) -> None:
    formats.write_image(tmp_path / "a.tif", phantom(1))
    call = ("predict", tmp_path / "a.tif", "-o", tmp_path / "out", "--registry", registry, "--overwrite")
    (entry,) = json.loads(medseg(*call, "--json")[1])["files"]
    assert (entry["unlike"], entry["domain_distance"]) == (False, None)
    assert "! unlike" not in medseg(*call)[1]
    let_a_version_know_no_image(registry / "lungs-unet" / "77")
    (entry,) = json.loads(medseg(*call, "--json")[1])["files"]
    assert entry["unlike"]
    assert entry["domain_distance"] > 1
    assert "! unlike the images this model learnt from" in medseg(*call)[1]


def let_a_version_know_no_image(folder: Path) -> None:
    network, card = load_version(folder)
    pool = FeaturePool(network)
    with torch.no_grad():
        network(torch.zeros(1, card.architecture.in_channels, 64, 64))
    n_features = pool.take().shape[1]
    nowhere = np.full((1, n_features), 100.0)
    one = np.ones(n_features)
    group = SourceGaussians(0 * one, one, nowhere, np.zeros((0, n_features)), np.zeros(0), 1.0)
    check = DomainCheck(statistics_sha256=write_statistics(DomainStatistics(((group,),)), folder))
    write_card(card.model_copy(update={"domain": check}), folder / "card.json")
