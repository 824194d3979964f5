from pathlib import Path

import pytest
import tifffile
import torch
from training_phantoms import phantom, small_card, small_recipe

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture, read_card
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.inference.postprocess import POSTPROCESSING_STEPS
from napari_medseg.networks import load_version
from training.__main__ import main as train
from training.augmentation.presets import AUGMENTATIONS
from training.from_folders.base_model import main, make_run
from training.from_folders.base_recipe import FolderSource, ModelRecipe, read_model_recipe
from training.start_builder import ensure_start_version

MODELS = Path(napari_medseg.__file__).parent / "models"
LUNGS_RECIPE = Path(__file__).parents[3] / "training" / "recipes" / "lungs.json"
BEFORE_THE_DEMOS = "lungs-unet@1"
"""It has left the program; the model of the demo began with its weights."""


def test_patients_are_told_from_file_names() -> None:
    source = FolderSource(name="s", images="i", labels="l", group="^(.*)_", hold_out=("b_1",), validate_on=("c",))
    assert source.assign_roles(["b_1_007", "c_1", "a_2"], Path()) == {
        "b_1_007": ("b_1", Role.HOLD_OUT),
        "c_1": ("c", Role.VALIDATE),
        "a_2": ("a", Role.TRAIN),
    }
    everything = FolderSource(name="s", images="i", labels="l", hold_out=("*",))
    assert everything.assign_roles(["x"], Path()) == {"x": ("", Role.HOLD_OUT)}


def test_patients_and_hold_out_can_stand_in_an_index(tmp_path: Path) -> None:
    rows = ["name,patient,split", "a,p1,train", "b,p1,train", "c,p2,val", "d,p3,train", "e,p4,train"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    source = FolderSource(
        name="s", images="i", labels="l", index="index.csv", group_column="patient", validate_every=2, hold_out=("p4",)
    )
    roles = source.assign_roles(list("abcde"), tmp_path)
    assert {name for name, (_, role) in roles.items() if role is Role.HOLD_OUT} == {"c", "e"}
    assert {group for group, role in roles.values() if role is Role.VALIDATE} == {"p3"}


def test_the_recipe_of_the_bundled_model_is_valid_and_holds_out_what_it_says() -> None:
    base = read_model_recipe(LUNGS_RECIPE)
    sources = {source.name: source for source in base.sources}
    assert sources["lidc_one_patient"].hold_out == ("*",)
    assert sources["covid_slices"].hold_out == ("cc003", "cc006", "rp14_14_85914_0")
    assert "xray_kermany" not in sources
    assert {step.name for step in base.card.postprocessing} <= POSTPROCESSING_STEPS.keys()


@pytest.mark.parametrize("path", sorted(LUNGS_RECIPE.parent.glob("*.json")), ids=lambda path: path.stem)
def test_each_recipe_is_that_of_a_bundled_version_or_the_next_one(path: Path) -> None:
    base = read_model_recipe(path)
    if base.card.id == BEFORE_THE_DEMOS:
        assert read_card(MODELS / "lungs-ct" / "1" / "card.json").lineage.began_with == BEFORE_THE_DEMOS
        return
    newest = max(int(folder.name) for folder in (MODELS / base.card.name).iterdir())
    if base.card.version == newest + 1:
        assert base.card.task == read_card(MODELS / base.card.name / str(newest) / "card.json").task
        return
    if not (MODELS / base.card.name / str(base.card.version)).exists():  # it has left; the newest goes on from it
        parent = read_card(MODELS / base.card.name / str(newest) / "card.json").lineage.parent
        assert parent == base.card.id
        return
    bundled = read_card(MODELS / base.card.name / str(base.card.version) / "card.json")
    for part in ("task", "architecture", "preprocessing", "postprocessing", "instances", "field", "licence"):
        assert getattr(bundled, part) == getattr(base.card, part), part
    assert base.recipe.augmentation.preset in AUGMENTATIONS
    assert {step.name for step in base.card.postprocessing} <= POSTPROCESSING_STEPS.keys()
    assert any(source.hold_out or source.index for source in base.sources)
    assert bundled.hold_out
    assert bundled.lineage.parent == (base.parent or None)
    assert bundled.lineage.seed == base.recipe.run.seed
    named = {score.dataset for score in bundled.hold_out} - {"all"}
    assert named <= {source.name for source in base.sources} | {"lidc_one_patient", "covid_slices"}


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(LUNGS_RECIPE.read_text().replace('"sources"', '"folders"'))
    with pytest.raises(MedSegError, match="folders"):
        read_model_recipe(path)


def run_with(folder: Path, **changes: object) -> Path:
    """Make a run folder for one image of each of two patients."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for n in range(2):
        for kind, pixels in zip(("images", "labels"), phantom(n), strict=True):
            tifffile.imwrite(folder / kind / f"p{n}_.tif", pixels)
    source = FolderSource(name="phantoms", images="images", labels="labels", group="^(p.)_", hold_out=("p1",))
    architecture = Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3)
    card = small_card().model_copy(update={"architecture": architecture})
    make_run(
        ModelRecipe(card=card, sources=(source,), recipe=small_recipe(), **changes), folder, folder, folder / "run"
    )
    return folder / "run"


def test_a_recipe_says_what_the_encoder_starts_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taught = load_version(MODELS / "lungs-unet" / "4")[0].get_submodule("encoder").state_dict()
    started = load_version(run_with(tmp_path / "a", encoder_weights="lungs-unet@4") / "start")[0]
    assert all(
        torch.equal(found, taught[name]) for name, found in started.get_submodule("encoder").state_dict().items()
    )
    with pytest.raises(MedSegError, match="there is no file"):
        run_with(tmp_path / "b", encoder_weights="gone.safetensors")
    assert "at random" not in caplog.text
    asked = run_with(tmp_path / "c", encoder_weights="none")
    assert "at random" not in caplog.text, "as asked for"
    unsaid = run_with(tmp_path / "d")
    assert "at random" in caplog.text
    taught = run_with(tmp_path / "e", weights_from=str(MODELS / "lungs-unet" / "4"))
    cards = {path.parent.name: read_card(path / "start" / "card.json") for path in (tmp_path / "a/run", asked, unsaid)}
    assert {name: card.lineage.began_with for name, card in cards.items()} == {
        "a": "lungs-unet@4",
        "c": "random weights, as asked for",
        "d": "random weights, as the recipe names neither parent nor encoder_weights",
    }
    assert cards["a"].weaknesses == small_card().weaknesses
    assert cards["a"].licence.startswith("began with weights of lungs-unet@4: ")
    assert cards["d"].weaknesses[-1].startswith("its training began with random weights, as the recipe")
    assert read_card(taught / "start" / "card.json").lineage.began_with == "lungs-unet@4"
    assert ensure_start_version(unsaid, 0) == f"the model begins with {cards['d'].lineage.began_with}"


def test_a_base_model_is_trained_by_the_same_loop_and_has_no_parent(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for n in range(6):
        pixels, labels = phantom(n)
        tifffile.imwrite(tmp_path / "images" / f"p{n % 3}_{n}.tif", pixels)
        tifffile.imwrite(tmp_path / "labels" / f"p{n % 3}_{n}.tif", labels)
    source = FolderSource(
        name="phantoms",
        images="images",
        labels="labels",
        group="^(p.)_",
        hold_out=("p2",),
        validate_on=("p1",),
        drop_outside_air=True,
    )
    card = small_card().model_copy(update={"lineage": small_card().lineage.model_copy(update={"created": ""})})
    base = ModelRecipe(card=card, sources=(source,), recipe=small_recipe(n_epochs=1, version=1))
    run_dir = tmp_path / "run"
    make_run(base, tmp_path, tmp_path, run_dir)
    items = read_snapshot(run_dir / "snapshot.json").items
    assert [item.role for item in items].count(Role.HOLD_OUT) == 2
    assert {item.group for item in items if item.role is Role.VALIDATE} == {"phantoms/p1"}
    assert train([str(run_dir)]) == 0
    from napari_medseg.core.model_card import read_card

    made = read_card(run_dir / "card.json")
    assert made.lineage.parent is None
    assert made.version == 1
    assert made.hold_out[0].n_images == 2


def test_a_run_can_start_from_another_version_than_the_recipes_parent_which_has_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for n in range(2):
        for kind, pixels in zip(("images", "labels"), phantom(n), strict=True):
            tifffile.imwrite(tmp_path / kind / f"p{n}_.tif", pixels)
    source = FolderSource(name="phantoms", images="images", labels="labels", group="^(p.)_", hold_out=("p1",))
    architecture = read_card(MODELS / "lungs-unet" / "4" / "card.json").architecture
    card = small_card().model_copy(update={"architecture": architecture})
    base = ModelRecipe(card=card, sources=(source,), recipe=small_recipe(), parent="lungs-unet@3")
    (tmp_path / "recipe.json").write_text(base.model_dump_json())
    common = ["--data", str(tmp_path), "--weights", str(tmp_path), "--recipe", str(tmp_path / "recipe.json")]
    assert main([*common, "--prepare", str(tmp_path / "without")]) == 1
    assert "--start FOLDER" in caplog.text
    given = MODELS / "lungs-unet" / "4"
    assert main([*common, "--prepare", "--start", str(given), str(tmp_path / "run")]) == 0
    started, card = load_version(tmp_path / "run" / "start")
    taught = load_version(given)[0].state_dict()
    assert all(torch.equal(found, taught[name]) for name, found in started.state_dict().items())
    assert card.lineage.parent == "lungs-unet@4"
    assert len(read_snapshot(tmp_path / "run" / "snapshot.json").items) == 2
