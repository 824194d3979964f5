"""A recipe is spelled in groups, or by the flat keys of before; both mean the same, also beside one another."""

import json
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from napari_medseg.core.errors import MedSegError
from training.from_folders.base_recipe import ModelRecipe
from training.from_folders.default_recipe import read_recipe_overrides
from training.recipe import Recipe, read_recipe, update_recipe, write_recipe
from training.recipe_keys import FLAT_KEYS, GROUPS, merge_keys, nest_keys

OLD_PROJECT = Path(__file__).parents[1] / "data" / "project_before_rooms.zip"
OTHER = {
    "base": "start",
    "field_base": "roi",
    "compare_with": "live",
    "name": "nuclei-unet",
    "version": 4,
    "n_epochs": 7,
    "steps_per_epoch": 9,
    "budget_s": 12.5,
    "batch_size": 3,
    "patch_px": 96,
    "learning_rate": 3e-4,
    "encoder_rate_factor": 0.7,
    "weight_decay": 2e-3,
    "loss": [{"name": "dice", "weight": 0.5}, {"name": "boundary", "trainable": True}],
    "class_weights": "inverse_frequency",
    "foreground_share": 0.25,
    "augmentation": "gentle",
    "replay_augmentation": "mirror",
    "augmentation_strength": 0.5,
    "sampling": "windows",
    "window_overlap_px": 11,
    "label_steps": [{"name": "dilate", "options": {"radius_px": 2}}],
    "paste": {"share": 0.25, "region": "hull"},
    "unlabelled": {"weight": 0.5, "threshold": 0.75},
    "schedule": "linear",
    "replay_share": 0.125,
    "distillation": 1.5,
    "average_with_parent": 0.375,
    "ema_decay": 0.75,
    "freeze_batch_norm": False,
    "keep": "cycles",
    "patience": 5,
    "precision": "fp32",
    "n_cycles": 2,
    "stage_start": "last",
    "optimiser": "sgd",
    "max_gradient_norm": 1.25,
    "accumulate": 6,
    "freeze_encoder_stages": 1,
    "low_rank": 8,
    "checkpoint_every_s": 60.0,
    "checkpoint_every_steps": 10,
    "tensorboard": True,
    "seed": 13,
    "device": "cuda:1",
    "n_threads": 1,
}
"""Every flat key, with another value than its default."""


def get_setting(recipe: Recipe, key: str) -> object:
    group, field = FLAT_KEYS[key]
    return recipe.model_dump(mode="json", exclude_unset=True)[group][field]


def test_every_flat_key_sets_its_setting_and_no_other() -> None:
    assert OTHER.keys() == FLAT_KEYS.keys()
    plain, changed = Recipe(**{"base": "b", "name": "n"}), Recipe.model_validate(OTHER)
    fields = {(group, field) for group in GROUPS for field in type(getattr(plain, group)).model_fields}
    assert set(FLAT_KEYS.values()) == fields
    for key, value in OTHER.items():
        assert get_setting(changed, key) == value
        group, field = FLAT_KEYS[key]
        assert getattr(getattr(plain, group), field) != getattr(getattr(changed, group), field), key


def test_flat_and_nested_are_the_same_recipe_and_the_file_is_nested(tmp_path: Path) -> None:
    flat = Recipe.model_validate(OTHER)
    (tmp_path / "flat.json").write_text(json.dumps(OTHER))
    write_recipe(flat, tmp_path / "recipe.json")
    written = json.loads((tmp_path / "recipe.json").read_text())
    assert written.keys() == {*GROUPS, "stages"}
    assert written["optimiser"]["learning_rate"] == 3e-4
    assert read_recipe(tmp_path / "recipe.json") == read_recipe(tmp_path / "flat.json") == flat
    assert Recipe.model_validate(nest_keys(OTHER)) == flat


def test_both_spellings_stand_beside_one_another_in_stages_too() -> None:
    mixed = Recipe.model_validate(
        {
            "base": "b",
            "run": {"name": "n"},
            "schedule": {"n_epochs": 3},
            "optimiser": "sgd",
            "stages": [
                {"augmentation": "ct", "optimiser": {"learning_rate": 1e-2}},
                {"schedule": {"n_epochs": 5}, "loss": "dice", "optimiser": "adam"},
            ],
        }
    )
    assert mixed.stages[0] == {"augmentation": {"preset": "ct"}, "optimiser": {"learning_rate": 1e-2}}
    first, second = mixed.resolve_stages()
    assert (first.optimiser.name, first.optimiser.learning_rate, first.schedule.n_epochs) == ("sgd", 1e-2, 3)
    assert (second.optimiser.name, second.optimiser.learning_rate, second.schedule.n_epochs) == ("adam", 1e-3, 5)
    assert (first.loss.terms, second.loss.terms) == ("cross_entropy_dice", "dice")


def test_later_keys_win_in_either_spelling() -> None:
    assert merge_keys({"n_epochs": 3, "seed": 1}, {"schedule": {"n_epochs": 5}}) == {
        "seed": 1,
        "schedule": {"n_epochs": 5},
    }
    assert merge_keys({"optimiser": "sgd"}, {"optimiser": {"learning_rate": 1.0}}) == {
        "optimiser": {"name": "sgd", "learning_rate": 1.0}
    }
    assert merge_keys({"optimiser": {"name": "sgd", "learning_rate": 1.0}}, {"optimiser": "adam"}) == {
        "optimiser": {"name": "adam", "learning_rate": 1.0}
    }
    changed = update_recipe(Recipe.model_validate(OTHER), {"augmentation": "ct", "schedule": {"patience": 2}})
    assert (changed.augmentation.preset, changed.augmentation.strength) == ("ct", 0.5)
    assert (changed.schedule.name, changed.schedule.patience) == ("linear", 2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"learning_rate": -1}, "learning_rate"),
        ({"optimiser": {"learning_rate": -1}}, "optimiser.learning_rate"),
        ({"augmentation": 3}, "augmentation"),
        ({"augmentation": {"preset": 3}}, "augmentation.preset"),
        ({"loss": 3}, "loss.str"),
        ({"loss": {"terms": 3}}, "loss.terms.str"),
        ({"field_base": 3}, "field_base"),
        ({"rate": 3}, "rate"),
        ({"optimiser": {"rate": 3}}, "optimiser.rate"),
        ({"data": 5}, "data"),
        ({"data": 5, "patch_px": 64}, "data"),
        ({"stages": [{"n_epochs": 0}]}, "n_epochs"),
        ({"stages": [{"schedule": {"n_epochs": 0}}]}, "schedule.n_epochs"),
    ],
)
def test_an_error_names_the_key_as_it_was_written(wrong: dict[str, object], named: str, tmp_path: Path) -> None:
    whole = {"base": "b", "name": "n", **wrong}
    (tmp_path / "recipe.json").write_text(json.dumps(whole))
    with pytest.raises(ValidationError) as error:
        Recipe.model_validate(whole)
    assert named in {".".join(map(str, item["loc"])) for item in error.value.errors()}
    with pytest.raises(MedSegError) as read:
        read_recipe(tmp_path / "recipe.json")
    assert f" {named}: " in str(read.value)
    with pytest.raises(MedSegError) as changed:
        update_recipe(Recipe.model_validate({"base": "b", "name": "n"}), wrong)
    assert f" {named}: " in str(changed.value)


def test_a_larger_file_names_the_key_of_its_recipe(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        ModelRecipe.model_validate({"recipe": {"base": "b", "name": "n", "learning_rate": -1}})
    assert ("recipe", "learning_rate") in {item["loc"] for item in error.value.errors()}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValidationError) as error:
        Recipe.model_validate({"n_epochs": 2})
    assert {item["loc"] for item in error.value.errors()} == {("run", "base"), ("run", "name")}


def test_one_setting_in_two_spellings_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"learning_rate and optimiser\.learning_rate are the same setting"):
        Recipe.model_validate({"base": "b", "name": "n", "learning_rate": 1, "optimiser": {"learning_rate": 2}})


@pytest.mark.parametrize("stage", [{"seed": 3}, {"run": {"seed": 3}}, {"keep": "last"}, {"data": {"label_steps": []}}])
def test_a_stage_cannot_change_what_holds_for_the_whole_run(stage: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"stage 1 changes \['[a-z_.]+'\], which hold for the whole run"):
        Recipe.model_validate({"base": "b", "name": "n", "stages": [stage]})
    ok = Recipe.model_validate({"base": "b", "name": "n", "stages": [{"precision": "fp32"}]})
    assert ok.resolve_stages()[0].run.precision == "fp32"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flat.toml", 'recipe = { loss = "focal_dice", n_epochs = 25, augmentation_strength = 0.5 }'),
        (
            "nested.toml",
            '[recipe]\nloss.terms = "focal_dice"\nschedule.n_epochs = 25\naugmentation = { strength = 0.5 }\n',
        ),
        (
            "mixed.json",
            json.dumps({"recipe": {"loss": "focal_dice", "n_epochs": 25, "augmentation": {"strength": 0.5}}}),
        ),
    ],
)
def test_a_persons_file_may_use_either_spelling(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    recipe = update_recipe(Recipe.model_validate(OTHER), read_recipe_overrides(tmp_path / name).recipe)
    assert (recipe.loss.terms, recipe.schedule.n_epochs, recipe.augmentation.strength) == ("focal_dice", 25, 0.5)
    assert recipe.optimiser.name == "sgd"


def test_the_recipe_of_an_old_run_folder_is_read_with_its_stages(tmp_path: Path) -> None:
    with zipfile.ZipFile(OLD_PROJECT) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("/recipe.json"))
        old = json.loads(archive.read(path))
        archive.extract(path, tmp_path)
    assert "learning_rate" in old, "it is of the time before"
    recipe = read_recipe(tmp_path / path)
    assert {key: get_setting(recipe, key) for key in FLAT_KEYS if key in old} == {
        key: old[key] for key in FLAT_KEYS if key in old
    }
    assert [nest_keys(stage) for stage in old["stages"]] == list(recipe.stages)


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize(
    "damage", [b"\xff", b"\0", b"a = " + b"[" * 100_000, b"[" * 100_000, b"9" * 5000, b"a = 1e999"]
)
def test_a_damaged_recipe_file_is_a_message(tmp_path: Path, suffix: str, damage: bytes) -> None:
    path = tmp_path / f"recipe{suffix}"
    path.write_bytes(damage)
    with pytest.raises(MedSegError, match="is not a valid recipe file"):
        read_recipe_overrides(path)
