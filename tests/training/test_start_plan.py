"""What a network starts from, as it is decided before there is a network."""

import json
import shutil
from pathlib import Path

import pytest
from training_phantoms import small_card

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Lineage, ModelCard
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.from_folders.default_recipe import RecipeOverrides
from training.start_plan import (
    Donor,
    StartPlan,
    StartSource,
    choose_base_version,
    list_donors,
    plan_base_model,
    plan_first_model,
    plan_project_run,
    read_start_plan,
    write_start_plan,
    write_start_to_card,
)

BUNDLED = Path(napari_medseg.__file__).parent / "models"


@pytest.fixture
def bundled(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry", BUNDLED)


@pytest.fixture
def donors(bundled: ModelRegistry) -> list[Donor]:
    return list_donors(bundled)


def new_card() -> ModelCard:
    return small_card().model_copy(update={"lineage": Lineage()})


def test_the_version_whose_images_are_most_alike_lends_network_and_weights(donors: list[Donor]) -> None:
    for kind, expected in (
        ("grey", "lungs-unet@4"),
        ("endoscopy", "instruments-unet@2"),
        ("histology", "nuclei-unet@2"),
    ):
        start = plan_first_model(make_custom_task("x", ["a", "b"], kind=kind), "x-unet", donors)
        donor = next(card for card, _ in donors if card.id == expected)
        assert (start.source, start.weights_from) == (StartSource.VERSION, str(BUNDLED.joinpath(*expected.split("@"))))
        assert (start.card.lineage.began_with, start.card.weaknesses) == (expected, [])
        assert start.card.licence == f"began with weights of {expected}: {donor.licence}"
        assert (start.card.id, start.card.architecture.classes) == ("x-unet@1", 3)
        assert start.card.architecture.encoder == donor.architecture.encoder
        assert start.card.preprocessing == donor.preprocessing
    small = next((card, folder) for card, folder in donors if card.id == "lungs-ct@1")
    newer = small[0].model_copy(update={"version": 9}), small[1]
    start = plan_first_model(make_custom_task("x", ["a"], kind="grey"), "x-unet", [*donors, newer])
    assert start.card.lineage.began_with == "lungs-unet@4", "the demo's model is no better for being retrained"


def test_a_network_that_no_version_has_takes_what_is_published_for_it(donors: list[Donor]) -> None:
    task, wanted = TASKS["lungs"], {"architecture": {"name": "pspnet", "encoder": "resnet18"}}
    start = plan_first_model(task, "x-unet", donors, RecipeOverrides.model_validate(wanted))
    assert (start.source, start.encoder_weights, start.weights_from) == (StartSource.PUBLISHED, "", "")
    assert (start.card.architecture.name, start.card.architecture.options) == ("pspnet", {})
    assert (start.card.lineage.began_with, start.card.weaknesses, start.card.licence) == ("", [], "")
    best = start.choose_published_weights(["imagenet", "swsl"])
    assert best == start.model_copy(update={"encoder_weights": "imagenet"})
    assert best.source is StartSource.NAMED
    nothing = start.choose_published_weights([])
    assert nothing.source is StartSource.RANDOM
    assert nothing.card.lineage.began_with == "random weights, as nobody publishes weights for pspnet resnet18"
    assert nothing.card.weaknesses == [f"its training began with {nothing.card.lineage.began_with}"]


def test_weights_that_are_named_count_before_any_version(
    donors: list[Donor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS["lungs"]
    random = plan_first_model(task, "x-unet", donors, RecipeOverrides(weights="none"))
    assert (random.source, random.weights_from) == (StartSource.RANDOM, "")
    version = plan_first_model(task, "x-unet", donors, RecipeOverrides(weights="lungs-ct@1"))
    assert (version.source, version.encoder_weights) == (StartSource.NAMED, "lungs-ct@1")
    assert version.choose_published_weights(["imagenet"]) is version
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MedSegError, match=r'no file of encoder weights mine.safetensors. Name "imagenet"'):
        plan_first_model(task, "x-unet", donors, RecipeOverrides(weights="mine.safetensors"))
    Path("mine.safetensors").touch()
    file = plan_first_model(task, "x-unet", donors, RecipeOverrides(weights="mine.safetensors"))
    assert file.encoder_weights == str(tmp_path / "mine.safetensors"), "the run works in another folder"


def test_a_project_starts_from_the_live_version_or_the_one_that_is_named(bundled: ModelRegistry) -> None:
    task = TASKS["lungs"]
    assert choose_base_version(bundled, task) == bundled.get_live_card("lungs")
    base = choose_base_version(bundled, task, "lungs-ct@1")
    assert base == bundled.get_card("lungs-ct@1")
    assert plan_project_run(bundled, task, base, RecipeOverrides()) is None, "it goes on learning"
    assert choose_base_version(bundled, make_custom_task("x", ["a"], kind="grey")) is None
    with pytest.raises(MedSegError, match=r"there is no version 'nuclei-unet@2' of the task 'lungs'"):
        choose_base_version(bundled, task, "nuclei-unet@2")


def test_the_first_model_of_a_project_that_no_version_fits_says_that_it_is_random(tmp_path: Path) -> None:
    empty, task = ModelRegistry(tmp_path, tmp_path), make_custom_task("x", ["a"], kind="grey")
    start = plan_project_run(empty, task, None, RecipeOverrides())
    assert start is not None
    assert start.source is StartSource.RANDOM
    assert start.card.lineage.began_with == "random weights, as no model fitted"
    assert start.card.weaknesses == ["its training began with random weights, as no model fitted"]
    other = plan_project_run(empty, task, None, RecipeOverrides(architecture={"encoder": "resnet18"}))
    assert other is not None
    assert other.source is StartSource.PUBLISHED
    assert other.card.architecture.options == start.card.architecture.options


def test_a_recipe_of_a_base_model_names_its_start(bundled: ModelRegistry, tmp_path: Path) -> None:
    nothing = {"parent": "", "weights_from": "", "encoder_weights": "", "weights_dir": tmp_path}
    parent = plan_base_model(new_card(), **nothing | {"parent": "lungs-ct@1", "encoder_weights": "imagenet"})
    assert (parent.source, Path(parent.weights_from)) == (StartSource.VERSION, bundled.get_folder("lungs-ct@1"))
    assert parent.card.lineage == Lineage(parent="lungs-ct@1")
    kept = tmp_path / "lungs-unet" / "2"
    shutil.copytree(bundled.get_folder("lungs-ct@1"), kept)
    assert plan_base_model(new_card(), **nothing | {"parent": "lungs-unet@2"}).weights_from == str(kept)
    began = plan_base_model(new_card(), **nothing | {"weights_from": "lungs-unet@2"})
    assert (began.weights_from, began.card.lineage) == (str(kept), Lineage(began_with="lungs-ct@1"))
    with pytest.raises(MedSegError, match="Put its folder at lungs-unet/99 in "):
        plan_base_model(new_card(), **nothing | {"parent": "lungs-unet@99"})
    folder = str(bundled.get_folder("lungs-unet@4"))
    assert plan_base_model(new_card(), **nothing | {"weights_from": folder}).card.lineage.began_with == "lungs-unet@4"
    unnamed = plan_base_model(new_card(), **nothing)
    assert unnamed.source is StartSource.RANDOM
    assert unnamed.card.weaknesses[-1].endswith("as the recipe names neither parent nor encoder_weights")
    (tmp_path / "encoder.safetensors").touch()
    file = plan_base_model(new_card(), **nothing | {"encoder_weights": "encoder.safetensors"})
    assert (file.encoder_weights, file.registry) == (str(tmp_path / "encoder.safetensors"), str(tmp_path))


def test_a_card_names_random_weights_once_and_keeps_its_own_licence() -> None:
    once = write_start_to_card(new_card(), "random weights, as asked for")
    assert write_start_to_card(once, "random weights, as asked for") == once
    donor = new_card().model_copy(update={"licence": "MIT"})
    assert write_start_to_card(new_card(), donor.id, donor).licence == f"began with weights of {donor.id}: MIT"
    own = new_card().model_copy(update={"licence": "CC0"})
    assert write_start_to_card(own, donor.id, donor).licence == "CC0"


def test_a_plan_is_written_and_an_older_run_folder_still_opens(tmp_path: Path) -> None:
    start = StartPlan(card=new_card(), weights_from="/versions/lungs-unet/3", registry="/registry")
    write_start_plan(start, tmp_path)
    written = json.loads((tmp_path / "start.json").read_text())
    assert list(written) == ["card", "weights_from", "encoder_weights", "registry"], "what other releases read"
    assert read_start_plan(tmp_path) == start
    card = written["card"] | {"lineage": {"began_with": "random weights, as no model fitted"}}
    (tmp_path / "start.json").write_text(json.dumps({"card": card}))
    assert read_start_plan(tmp_path).source is StartSource.RANDOM
    (tmp_path / "start.json").write_text(json.dumps({"card": card, "weight_from": ""}))
    with pytest.raises(MedSegError, match="weight_from"):
        read_start_plan(tmp_path)
