"""Every recipe of the repository learns one step from phantoms and makes a version that the predictor opens."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from training_phantoms import SIDE, phantom

import training
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network
from napari_medseg.networks.architectures import get_default_encoder
from training.__main__ import main as train
from training.benchmark.suite import read_suite
from training.evaluation.evaluate import evaluate_case
from training.evaluation.hold_out_evaluation import make_labelled_case
from training.from_folders.base_model import make_run
from training.from_folders.base_recipe import FolderSource, ModelRecipe, read_model_recipe
from training.from_folders.default_recipe import read_recipe_overrides
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.folder_run import fill_run, make_folder_task
from training.from_folders.mask_values import MaskEncoding
from training.recipe import read_recipe, update_recipe
from training.recipe_keys import merge_keys

HERE = Path(training.__file__).parent
SMALL_SIDE = {"min_side_px": SIDE, "max_side_px": SIDE}
SMALL_ENCODERS = {"resnet101": "resnet18", "resnet50": "resnet18", "tu-xception71": "mobilenet_v2", "vgg16_bn": "vgg11"}
SMALL_WIDTHS = {"conv_unet": [8, 8, 16], "inception_unet": [8, 8, 16]}
BUNDLED = {path.stem: read_model_recipe(path) for path in sorted((HERE / "recipes").glob("*.json"))}
ROWS = {
    f"{path.stem}: {row.name}": recipe
    for path in sorted((HERE / "suites").glob("*.toml"))
    for row, recipe in read_suite(path).build_recipes()
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two lungs, grey and in colour; their labels suit every task: 1 and 2, two objects, or 1."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("grey", "colour", "labels", "binary"):
        (folder / name).mkdir()
    for seed in range(3):
        pixels, labels = phantom(seed)
        tifffile.imwrite(folder / "grey" / f"p{seed}.tif", pixels)
        colours = np.stack([pixels, pixels[::-1] // 2, pixels // 3], axis=-1)
        tifffile.imwrite(folder / "colour" / f"p{seed}.tif", colours, photometric="rgb")
        tifffile.imwrite(folder / "labels" / f"p{seed}.tif", labels)
        tifffile.imwrite(folder / "binary" / f"p{seed}.tif", (labels > 0).astype(np.uint8))
    return folder


def shrink_network(network: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the same kind of network small; `fcn` and `deeplabv3_tv` have no encoder below ResNet-50."""
    if network["name"] in SMALL_WIDTHS:
        return {"options": {"widths": SMALL_WIDTHS[network["name"]]}}
    encoder = network.get("encoder") or get_default_encoder(network["name"])
    small = "resnet50" if network["name"] in ("fcn", "deeplabv3_tv") else SMALL_ENCODERS.get(encoder, encoder)
    return {"encoder": small}


def list_different_in_small() -> dict[str, ModelRecipe]:
    """One recipe of several that differ in the size of the encoder or in texts alone."""
    different: dict[str, ModelRecipe] = {}
    names: dict[int, str] = {}
    for name, base in (BUNDLED | ROWS).items():
        small = in_small(base)
        parts = (small.card.task, small.card.architecture, small.card.preprocessing, small.recipe)
        different.setdefault("|".join(map(repr, parts)), base)
        names[id(base)] = name
    return {names[id(base)]: base for base in different.values()}


def in_small(base: ModelRecipe) -> ModelRecipe:
    """The same recipe on three phantoms: two patches a step, as many steps as it has cycles, every stage kept."""
    task = get_task(base.card.task)
    network = base.card.architecture
    in_colour = network.in_channels == 3
    numbers = base.card.preprocessing.model_copy(update={"min_side_px": SIDE, "max_side_px": SIDE})
    recipe = base.recipe
    changes = {"n_epochs": 1, "steps_per_epoch": recipe.n_members, "batch_size": 2, "patch_px": SIDE}
    changes |= {"window_overlap_px": min(recipe.data.window_overlap_px, SIDE // 4), "precision": "fp32", "n_threads": 1}
    changes["stages"] = tuple(merge_keys(stage, {"n_epochs": 1}) for stage in recipe.stages)
    source = FolderSource(
        name="phantoms",
        images="colour" if in_colour and task.name != "covid" else "grey",
        labels="binary" if task.name == "instruments" else "labels",
        group="^(.*)$",
        hold_out=("p2",),
    )
    return base.model_copy(
        update={
            "card": base.card.model_copy(
                update={
                    "preprocessing": numbers,
                    "architecture": network.model_copy(update=shrink_network(network.model_dump())),
                }
            ),
            "encoder_weights": "none",
            "parent": "",
            "sources": (source,),
            "recipe": update_recipe(recipe, changes),
        }
    )


@pytest.mark.parametrize("base", [*BUNDLED.values(), *ROWS.values()], ids=[*BUNDLED, *ROWS])
def test_the_network_of_a_recipe_can_be_built(base: ModelRecipe) -> None:
    with torch.device("meta"):  # without weights
        network = build_network(base.card.architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) > 1_000_000


DIFFERENT = list_different_in_small()


@pytest.mark.parametrize("base", DIFFERENT.values(), ids=DIFFERENT)
def test_a_recipe_learns_a_step_and_makes_a_version_that_opens(base: ModelRecipe, data: Path, tmp_path: Path) -> None:
    small = in_small(base)
    make_run(small, data, data, tmp_path)
    assert train([str(tmp_path)]) == 0
    snapshot = read_snapshot(tmp_path / "snapshot.json")
    (case,) = [make_labelled_case(item, tmp_path) for item in snapshot.items if item.role == "hold_out"]
    roi_folder = read_recipe(tmp_path / "recipe.json").find_roi_folder(tmp_path)
    judged = evaluate_case(Predictor.load(tmp_path, "cpu", roi_folder), case, get_task(base.card.task))
    assert judged.predicted.shape == judged.reference.shape
    assert 0 <= judged.score.mean_dice <= 1


@pytest.mark.parametrize("path", sorted((HERE / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_later_stages_learn_more_slowly_at_either_size(path: Path) -> None:
    suite = read_suite(path)
    for form in (suite, suite.make_reduced()):
        for row, base in form.build_recipes():
            rates = [stage.optimiser.learning_rate for stage in base.recipe.resolve_stages()]
            assert all(later < earlier for earlier, later in itertools.pairwise(rates)), row.name


@pytest.mark.parametrize("path", sorted((HERE / "recipes" / "own").glob("*.toml")), ids=lambda path: path.stem)
def test_the_five_systems_are_a_few_lines_for_own_images(path: Path, data: Path, tmp_path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 30
    changes = read_recipe_overrides(path)
    recipe = changes.recipe
    n_cycles = recipe.get("schedule", {}).get("n_cycles", 1)
    few = {"n_epochs": n_cycles, "steps_per_epoch": 1, "batch_size": 2, "patch_px": 64}
    few |= {"window_overlap_px": 0, "n_threads": 1, "precision": "fp32"}
    small = changes.model_copy(
        update={
            "architecture": {**changes.architecture, **shrink_network(changes.architecture)},
            "recipe": merge_keys(recipe, few),
            "preprocessing": {**changes.preprocessing, **SMALL_SIDE},
            "weights": "none",
        }
    )
    task = make_folder_task("chest", ("right_lung", "left_lung"), data / "grey")
    own = FolderData("chest", data / "grey", data / "labels", MaskEncoding(task))
    fill_run(own, check_folder_data(own).cases, [], tmp_path / "run", small)
    assert train([str(tmp_path / "run")]) == 0, (tmp_path / "run" / "events.jsonl").read_text()
    version = Predictor.load(tmp_path / "run")
    members = {"e": 5}.get(path.stem, 1)
    assert version.card.architecture.options.get("n_members", 1) == members
    assert version.card.architecture.name == (changes.architecture["name"] if members == 1 else "ensemble")
