"""`medseg train` on a project."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom

from napari_medseg.core import formats
from napari_medseg.workflow.workspace import Workspace

Call = Callable[..., tuple[int, str, str]]


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
