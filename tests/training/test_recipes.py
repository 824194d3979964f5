"""Every recipe of the repository learns one step from phantoms and makes a version that the predictor opens."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torchvision.models.resnet import Bottleneck, ResNet
from training_phantoms import SIDE, phantom

import training
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, fcn_deeplab
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
SMALL_WIDTHS = [8, 8, 16]
SMALLEST_NETWORK = {"name": "conv_unet", "encoder": "", "options": {"widths": SMALL_WIDTHS}}
SMALL_ENCODERS = {"resnet101": "resnet18", "resnet50": "resnet18", "tu-xception71": "mobilenet_v2", "vgg16_bn": "vgg11"}
FIXED_ENCODER = ("fcn", "deeplabv3_tv")
"""They have no encoder below ResNet-50; `small_resnets` makes it one."""
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


@pytest.fixture
def small_resnets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give FCN and torchvision's DeepLabV3 a ResNet of one block a stage."""

    def build(*, weights: None, replace_stride_with_dilation: list[bool]) -> ResNet:
        return ResNet(Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=replace_stride_with_dilation)

    monkeypatch.setitem(fcn_deeplab.ENCODERS, "resnet50", build)


def shrink_network(network: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the same kind of network small."""
    if network["name"] in ("conv_unet", "inception_unet"):
        return {"options": {"widths": SMALL_WIDTHS}}
    encoder = network.get("encoder") or get_default_encoder(network["name"])
    small = "resnet50" if network["name"] in FIXED_ENCODER else SMALL_ENCODERS.get(encoder, encoder)
    return {"encoder": small}


def in_small(base: ModelRecipe, network: Mapping[str, Any] = SMALLEST_NETWORK) -> ModelRecipe:
    """The same recipe on three phantoms: two patches a step, as many steps as it has cycles, every stage kept."""
    task, recipe = get_task(base.card.task), base.recipe
    changes = {"n_epochs": 1, "steps_per_epoch": recipe.n_members, "batch_size": 2, "patch_px": SIDE}
    changes |= {"window_overlap_px": min(recipe.data.window_overlap_px, SIDE // 4), "precision": "fp32", "n_threads": 1}
    changes["stages"] = tuple(merge_keys(stage, {"n_epochs": 1}) for stage in recipe.stages)
    is_grey = base.card.architecture.in_channels != 3 or task.name == "covid"
    source = FolderSource(
        name="phantoms",
        images="grey" if is_grey else "colour",
        labels="binary" if task.name == "instruments" else "labels",
        group="^(.*)$",
        hold_out=("p2",),
    )
    more = FolderSource(name="more", images=source.images, unlabelled=True)
    has_unlabelled = any(one.unlabelled for one in base.sources)
    parts = {
        "preprocessing": base.card.preprocessing.model_copy(update=SMALL_SIDE),
        "architecture": base.card.architecture.model_copy(update=dict(network)),
    }
    return base.model_copy(
        update={
            "card": base.card.model_copy(update=parts),
            "encoder_weights": "none",
            "parent": "",
            "weights_from": "",
            "sources": (source, more) if has_unlabelled else (source,),
            "recipe": update_recipe(recipe, changes),
        }
    )


def describe_run(base: ModelRecipe) -> object:
    """All that makes one small run differ from another, whatever its network and its name."""
    small = in_small(base)
    run = small.recipe.run.model_copy(update={"name": "", "version": 1})
    recipe = small.recipe.model_copy(update={"run": run})
    return small.card.architecture, small.card.preprocessing, small.card.instances, small.card.task, recipe


def describe_network(base: ModelRecipe) -> object:
    """What makes one small network differ from another, whatever the task and how it is trained."""
    return base.card.architecture.name, shrink_network(base.card.architecture.model_dump())


def choose_different(describe: Callable[[ModelRecipe], object]) -> dict[str, ModelRecipe]:
    """The first recipe of each description, by its name."""
    first = {repr(describe(base)): name for name, base in reversed((BUNDLED | ROWS).items())}
    return {name: base for name, base in (BUNDLED | ROWS).items() if name in first.values()}


def learn_and_predict(small: ModelRecipe, data: Path, run_dir: Path) -> None:
    make_run(small, data, data, run_dir)
    assert train([str(run_dir)]) == 0
    snapshot = read_snapshot(run_dir / "snapshot.json")
    (case,) = [make_labelled_case(item, run_dir) for item in snapshot.items if item.role == "hold_out"]
    roi_folder = read_recipe(run_dir / "recipe.json").find_roi_folder(run_dir)
    judged = evaluate_case(Predictor.load(run_dir, "cpu", roi_folder), case, get_task(small.card.task))
    assert judged.predicted.shape == judged.reference.shape
    assert 0 <= judged.score.mean_dice <= 1


@pytest.mark.parametrize("base", [*BUNDLED.values(), *ROWS.values()], ids=[*BUNDLED, *ROWS])
def test_the_network_of_a_recipe_can_be_built(base: ModelRecipe) -> None:
    with torch.device("meta"):  # without weights
        network = build_network(base.card.architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) > 500_000


RUNS = choose_different(describe_run)
OWN = sorted((HERE / "recipes" / "own").glob("*.toml"))
IN_OWN = {read_recipe_overrides(path).architecture["name"] for path in OWN}
"""Architectures that the recipes for own images train below."""
NETWORKS = {
    name: base
    for name, base in choose_different(describe_network).items()
    if base.card.architecture.name not in {*IN_OWN, SMALLEST_NETWORK["name"]}
}


@pytest.mark.parametrize("base", RUNS.values(), ids=RUNS)
def test_a_recipe_learns_a_step_and_makes_a_version_that_opens(base: ModelRecipe, data: Path, tmp_path: Path) -> None:
    learn_and_predict(in_small(base), data, tmp_path)


@pytest.mark.usefixtures("small_resnets")
@pytest.mark.parametrize("base", NETWORKS.values(), ids=NETWORKS)
def test_a_network_of_the_recipes_learns_a_step_and_makes_a_version_that_opens(
    base: ModelRecipe, data: Path, tmp_path: Path
) -> None:
    small = in_small(base, shrink_network(base.card.architecture.model_dump()))
    plain = update_recipe(small.recipe, {"stages": (), "augmentation": "none", "loss": "dice", "keep": "last"})
    learn_and_predict(small.model_copy(update={"recipe": plain}), data, tmp_path)


@pytest.mark.parametrize("path", sorted((HERE / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_later_stages_learn_more_slowly_at_either_size(path: Path) -> None:
    suite = read_suite(path)
    for form in (suite, suite.make_reduced()):
        for row, base in form.build_recipes():
            rates = [stage.optimiser.learning_rate for stage in base.recipe.resolve_stages()]
            assert all(later < earlier for earlier, later in itertools.pairwise(rates)), row.name


@pytest.mark.usefixtures("small_resnets")
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
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
    members = {"e_lungs_inception_unet": 5}.get(path.stem, 1)
    assert version.card.architecture.options.get("n_members", 1) == members
    assert version.card.architecture.name == (changes.architecture["name"] if members == 1 else "ensemble")
