"""The command line as a script sees it: files, JSON, exit codes, one line where something is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, predicted, real_version, write_version

from napari_medseg.core import formats
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

CT = PACKAGE_DIR / "samples" / "ct_a0001"

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A person's registry whose version 77 is live and can predict."""
    folder = tmp_path / "models"
    real_version(folder / "lungs-unet" / "77", version=77)
    ModelRegistry(folder, tmp_path / "none").promote("lungs-unet@77")
    (folder / "live.json").write_text(
        json.dumps({"tasks": {"lungs": [{"action": "promote", "model": "lungs-unet@77", "at": "2025"}]}}),
        encoding="utf-8",
    )
    return folder


def test_help_names_every_command_and_usage_errors_end_with_2(medseg: Call) -> None:
    code, out, _ = medseg("--help")
    assert code == 0
    for command in ("predict", "evaluate", "queue", "export", "train", "models"):
        assert command in out
    assert medseg("predict")[0] == 2
    assert medseg("fly")[0] == 2
    assert medseg("--version")[1].startswith("napari-medseg ")


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


def test_evaluate_measures_files_against_files(medseg: Call, registry: Path, tmp_path: Path) -> None:
    code, out, _ = medseg(
        *("evaluate", "--images", CT / "dicom", "--labels", CT / "labels", "--only", "A0001_z0[12]"),
        *("--group", "A[0-9]+", "-o", tmp_path / "figures", "--registry", registry, "--json"),
    )
    assert code == 0
    answer = json.loads(out)
    assert answer["model"] == "lungs-unet@77"
    assert all(entry["group"] == "A0001" for entry in answer["images"])
    assert answer["summary"][0]["n_images"] == len(answer["images"]) > 2
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".csv", ".json", ".html"}


def test_models_are_listed_shown_promoted_and_rolled_back(medseg: Call, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for version in (77, 78):
        write_version(folder / "lungs-unet" / str(version), version=version, parent="lungs-unet@1")
    place = ("--registry", folder)
    assert medseg("models", "promote", "lungs-unet@77", *place)[0] == 1, "never live and no reason"
    assert medseg("models", "promote", "lungs-unet@77", "--reason", "measured elsewhere", *place)[0] == 0
    assert medseg("models", "promote", "lungs-unet@78", "--reason", "newer", *place)[0] == 0
    listed = json.loads(medseg("models", "list", "--json", *place)[1])
    listed = [entry for entry in listed if entry["model"].startswith("lungs-")]
    assert [entry["model"] for entry in listed][:2] == ["lungs-unet@78", "lungs-unet@77"]
    assert [entry["live"] for entry in listed][:2] == [True, False]
    code, out, _ = medseg("models", "roll-back", *place)
    assert (code, out) == (0, "lungs-unet@77 is live.\n")
    shown = medseg("models", "show", "lungs-unet@77", *place)[1]
    assert "promoted because: measured elsewhere" in shown
    assert "from: lungs-unet@1" in shown
    assert json.loads(medseg("models", "show", "lungs-unet@77", "--json", *place)[1])["version"] == 77
    assert "lungs-unet@78" in medseg("models", "list", *place)[1]


def test_queue_and_export_of_a_project(medseg: Call, ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0)
    predicted(ws, phantom(1), 0.25)
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    code, _, err = medseg("queue", *place)
    assert code == 1
    assert "open in another window" in err
    ws.close()
    entries = json.loads(medseg("queue", "--json", *place)[1])
    assert [(entry["name"], entry["state"], entry["uncertainty"]) for entry in entries] == [
        ("slice 1", "predicted", 0.25)
    ]
    assert "slice 1" in medseg("queue", *place)[1]
    assert medseg("export", "-o", tmp_path / "bad", "--suffix", ".bmp", *place)[0] == 1


def test_export_writes_labels_with_provenance(
    medseg: Call, ws: Workspace, tmp_path: Path, dropped: Callable[[int], object]
) -> None:
    dropped(0)
    accepted(ws, 0)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", tmp_path / "registry")
    code, out, _ = medseg("export", "-o", tmp_path / "out", "--with-images", "--json", *place)
    assert code == 0
    names = sorted(Path(path).name for path in json.loads(out))
    assert names == ["measurements.csv", "provenance.json", "slice_0_image.tif", "slice_0_labels.tif"]


def test_train_says_what_is_missing(medseg: Call, tmp_path: Path, registry: Path) -> None:
    code, out, err = medseg("train", "--project", tmp_path / "p", "--registry", registry)
    assert (code, out) == (1, "")
    assert "no correction to learn from" in err


def test_train_can_show_what_the_network_sees_and_train_nothing(
    medseg: Call, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    images, labels = tmp_path / "data" / "images", tmp_path / "data" / "labels"
    for number in range(3):
        image = phantom(number)
        formats.write_image(images / f"{number}.tif", image)
        formats.write_labels(labels / f"{number}.tif", np.ones(image.spatial_shape, np.uint8), image)
    recipe = {
        "card": json.loads((registry / "lungs-unet" / "77" / "card.json").read_text()),
        "encoder_weights": "not_needed_for_a_picture.safetensors",
        "sources": [{"name": "own", "images": "images", "labels": "labels"}],
        "recipe": {"base": "", "name": "lungs-unet", "patch_px": 64, "batch_size": 4, "augmentation": "mirror"},
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    picture = tmp_path / "pictures" / "batch.png"
    place = ("train", tmp_path / "recipe.json", "--show-batch", picture)
    assert "add --data" in medseg(*place)[2]
    assert medseg(*place, "--data", tmp_path / "data") == (0, f"{picture}\n", "")
    assert formats.read(picture).pixels.shape[1] == 1200
    code, _, err = medseg("train", "--show-batch", picture, "--project", tmp_path / "p", "--registry", registry)
    assert (code, "no run" in err) == (1, True)
    assert "Add --show-batch" in medseg("train", tmp_path / "recipe.json")[2]
    code, _, err = medseg("train", tmp_path, "--show-batch", picture, "--data", tmp_path / "data")
    assert (code, "Leave --data out" in err) == (1, True)


def test_train_runs_compares_and_keeps_the_old_one_without_proof(
    medseg: Call, ws: Workspace, tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for number in range(2):
        accepted(ws, number)
    ws.close()
    place = ("--project", ws.project.folder, "--registry", registry)
    code, out, err = medseg("train", "--budget", "15", "--promote", "--json", *place)
    answer = json.loads(out)
    assert answer["model"] == "lungs-unet@78"
    assert answer["live"] == "lungs-unet@77"
    assert answer["verdict"]["decision"] != "better", "one hold-out case proves nothing"
    assert code == 1
    assert "is not promoted" in err
    listed = json.loads(medseg("models", "list", "--json", "--registry", registry)[1])
    assert next(entry["model"] for entry in listed if entry["model"].startswith("lungs-")) == "lungs-unet@78"
