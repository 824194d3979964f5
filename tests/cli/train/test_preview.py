"""`medseg train preview`: a picture of what a network sees."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.project.database import Project

Call = Callable[..., tuple[int, str, str]]


def test_a_base_recipe_is_drawn_and_nothing_is_trained(medseg: Call, registry: Path, tmp_path: Path) -> None:
    images, labels = tmp_path / "data" / "images", tmp_path / "data" / "labels"
    for number in range(3):
        image = phantom(number)
        formats.write_image(images / f"{number}.tif", image)
        formats.write_labels(labels / f"{number}.tif", phantom_labels(), image)
    recipe = {
        "card": json.loads((registry / "lungs-unet" / "77" / "card.json").read_text()),
        "encoder_weights": "not_needed_for_a_picture.safetensors",
        "sources": [{"name": "own", "images": "images", "labels": "labels"}],
        "recipe": {"base": "", "name": "lungs-unet", "patch_px": 64, "batch_size": 4, "augmentation": "mirror"},
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    picture = tmp_path / "pictures" / "batch.png"
    place = ("train", "preview", picture, tmp_path / "recipe.json")
    code, _, err = medseg(*place)
    assert (code, "needs --data" in err) == (1, True), "whether SOURCE is a recipe is known when it is read"
    assert medseg(*place, "--data", tmp_path / "data") == (0, f"{picture}\n", "")
    assert formats.read(picture).pixels.shape[1] == 1200
    for path in labels.iterdir():
        formats.write_labels(path, np.zeros(phantom_labels().shape, np.uint8), phantom(0))
    code, _, err = medseg(*place, "--data", tmp_path / "data", "--same-voxels")
    assert (code, "nothing to learn" in err) == (1, True)
    Project.create(tmp_path / "p").close()
    code, _, err = medseg("train", "preview", picture, "--project", tmp_path / "p", "--registry", registry)
    assert (code, "no run" in err) == (1, True)
    code, _, err = medseg("train", "preview", picture, tmp_path, "--data", tmp_path / "data")
    assert (code, "Leave --data out" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recipe.json",), "does not end in .png"),
        (("batch.png", "--data", "images"), "--data is for a base recipe"),
        (("batch.png", "run", "--task", "lungs"), "are for the last run of a project"),
        (("batch.png", ".", "--mask-orientation", "shown"), "are for a base recipe"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    medseg: Call, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = medseg("train", "preview", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
