"""What a model on own images begins with: named, tried, or said aloud, and never random unnoticed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture, Lineage, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.networks import build_network, load_version
from training.from_folders.base_recipe import ModelRecipe
from training.from_folders.default_recipe import RecipeOverrides
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import fill_run
from training.from_folders.mask_values import MaskEncoding
from training.start_builder import build_start_version, copy_matching_tensors
from training.start_plan import StartPlan, list_donors

BUNDLED = Path(napari_medseg.__file__).parent / "models"
RESNET = {"name": "unet", "encoder": "resnet18", "options": {"decoder_channels": [8] * 5}}
Fill = Callable[..., ModelRecipe]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Fill `run` of the test for two pictures and these changes; a registry has the bundled versions as donors."""
    labels = np.zeros((48, 64), np.uint8)
    labels[10:30, 10:30] = 1
    for kind, pixels in (("images", labels * 90 + 20), ("masks", labels)):
        (tmp_path / kind).mkdir()
        for name in "ab":
            Picture.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    data = FolderData(
        "x", tmp_path / "images", tmp_path / "masks", MaskEncoding(make_custom_task("x", ["lung"], kind="grey"))
    )

    def filled(changes: RecipeOverrides, registry: ModelRegistry | None = None) -> ModelRecipe:
        known = registry or ModelRegistry(tmp_path / "registry", BUNDLED)
        return fill_run(data, check_folder_data(data).cases, list_donors(known), tmp_path / "run", changes, registry)

    return filled


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine that has no network: an empty folder."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_another_network_begins_with_imagenet(fill: Fill, hub_cache: Path, tmp_path: Path) -> None:
    taught = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    place = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = hub_cache / f"models--{place['repo_id'].replace('/', '--')}" / "snapshots" / place["revision"]
    folder.mkdir(parents=True)
    save_file(taught | {"fc.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, folder / "model.safetensors")
    base = fill(RecipeOverrides(architecture=RESNET))
    assert base.card.lineage.began_with == "imagenet (resnet18)"
    assert base.card.weaknesses == []
    network, card = load_version(tmp_path / "run" / "start")
    assert card.lineage.began_with == "imagenet (resnet18)"
    started = network.get_submodule("encoder").state_dict()["layer1.0.conv1.weight"]
    assert torch.allclose(started, taught["layer1.0.conv1.weight"], atol=1e-3), "but for the precision of the file"


def test_where_imagenet_cannot_be_had_it_is_said_what_to_do(fill: Fill, hub_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r'cannot get the weights of resnet18.*weights = "none" to begin at random'):
        fill(RecipeOverrides(architecture=RESNET))
    with pytest.raises(MedSegError) as refused:
        fill(RecipeOverrides(architecture=RESNET, weights="imagenet"))
    assert "--recipe" not in str(refused.value), "it was asked for"
    assert not (tmp_path / "run" / "recipe.json").exists()
    assert not hub_cache.exists() or not any(hub_cache.rglob("*.safetensors"))
    base = fill(RecipeOverrides(architecture=RESNET, weights="none"))
    assert base.card.lineage.began_with == "random weights, as asked for"
    assert base.card.weaknesses == ["its training began with random weights, as asked for"]


def test_where_nobody_publishes_weights_it_goes_on_and_says_so(fill: Fill, hub_cache: Path) -> None:
    base = fill(RecipeOverrides(architecture={"name": "conv_unet", "encoder": "", "options": {"widths": [8, 16]}}))
    assert base.card.lineage.began_with == "random weights, as nobody publishes weights for conv_unet"
    assert base.card.weaknesses == [f"its training began with {base.card.lineage.began_with}"]


def test_a_version_lends_its_network_without_being_named(fill: Fill) -> None:
    base = fill(RecipeOverrides())
    assert base.card.lineage.began_with == "lungs-unet@4"
    assert base.encoder_weights == ""


def test_a_shorter_network_takes_the_decoder_of_the_same_resolution() -> None:
    long, short = (
        build_network(Architecture(name="unet", encoder=encoder, in_channels=1, classes=3, options=options))
        for encoder, options in (
            ("mobilenet_v2", {"decoder_channels": [32, 24, 16, 8, 8]}),
            ("mobilenet_v2_short", {"encoder_depth": 4, "decoder_channels": [24, 16, 8, 8]}),
        )
    )
    n_taken, n_all = copy_matching_tensors(short, long)
    assert n_taken == n_all - 1, "all but the layer that reads the deepest map"
    for above in range(1, 4):
        taken, given = (
            net.get_submodule("decoder.blocks").get_submodule(str(n)).state_dict()
            for net, n in ((short, above), (long, above + 1))
        )
        assert all(torch.equal(taken[name], given[name]) for name in given)
    n_back, n_all = copy_matching_tensors(long, short)
    assert 0 < n_back < n_all


def test_a_file_and_a_version_of_the_users_registry_can_be_named(fill: Fill, tmp_path: Path) -> None:
    network, card = load_version(BUNDLED / "lungs-unet" / "4")
    save_file(network.get_submodule("encoder").state_dict(), tmp_path / "mine.safetensors")
    base = fill(RecipeOverrides(weights=str(tmp_path / "mine.safetensors")))
    assert base.card.lineage.began_with.startswith("file mine.safetensors (sha256 ")
    shutil.rmtree(tmp_path / "run")
    folder = tmp_path / "registry" / "my-model" / "2"
    shutil.copytree(BUNDLED / "lungs-unet" / "4", folder)
    content = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(content | {"name": "my-model", "version": 2}))
    with pytest.raises(MedSegError, match="my-model@2"):
        fill(RecipeOverrides(weights="my-model@2"))
    base = fill(RecipeOverrides(weights="my-model@2"), ModelRegistry(tmp_path / "registry", BUNDLED))
    assert base.card.lineage.began_with == "my-model@2"
    assert base.card.licence == f"began with weights of my-model@2: {card.licence}"


def test_a_project_s_new_network_does_not_begin_at_random_unsaid_either(hub_cache: Path, tmp_path: Path) -> None:
    _, card = load_version(BUNDLED / "lungs-unet" / "4")
    plain = card.model_copy(update={"lineage": Lineage(), "weaknesses": [], "licence": ""})
    resnet = Architecture(name="unet", encoder="resnet18", in_channels=1, classes=3)
    start = StartPlan(card=plain.model_copy(update={"architecture": resnet}))
    with pytest.raises(MedSegError, match="cannot get the weights of resnet18"):
        build_start_version(start, tmp_path / "a", 0)
    assert not (tmp_path / "a").exists()
    build_start_version(start.model_copy(update={"encoder_weights": "none"}), tmp_path / "a", 0)
    said = read_card(tmp_path / "a" / "card.json")
    assert said.lineage.began_with == "random weights, as asked for"
    assert said.weaknesses == ["its training began with random weights, as asked for"]
    own = start.model_copy(update={"card": plain, "encoder_weights": "lungs-unet@4"})
    build_start_version(own, tmp_path / "b", 0)
    built = read_card(tmp_path / "b" / "card.json")
    assert built.lineage.began_with == "lungs-unet@4"
    assert built.licence == f"began with weights of lungs-unet@4: {card.licence}", "as in a run on folders"
