"""Options of every command that trains: `--device`, refused if it is not there; `--model` and `--backbone`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from napari_medseg.cli.train.resume import _set_device
from napari_medseg.cli.train.run_options import read_run_overrides
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.database import Project
from training.recipe import make_fine_tuning_recipe, read_recipe, write_recipe
from training.run_folder import RECIPE_FILE, hold_trainer_lock

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "command", [("train", "project"), ("train", "resume", "RUN"), ("benchmark", "a", "--out", "OUT")], ids=" ".join
)
def test_a_device_that_is_not_there_is_refused_with_the_list(
    medseg: Call, tmp_path: Path, command: tuple[str, ...]
) -> None:
    words = [tmp_path / word.lower() if word.isupper() else word for word in command]
    (tmp_path / "run").mkdir()
    Project.create(tmp_path / "project").close()
    where = [] if "benchmark" in command or "RUN" in command else ["--project", tmp_path / "project"]
    code, _, err = medseg(*words, "--device", "cuda:9", *where)
    assert code == 1
    assert "there is no device 'cuda:9' here; choose one of: " in err
    assert "cpu" in err
    assert list((tmp_path / "run").iterdir()) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("train", "project"), ("train", "folders"), ("train", "resume"), ("benchmark",)])
def test_every_command_that_trains_takes_a_device(medseg: Call, command: tuple[str, ...]) -> None:
    assert "--device" in medseg(*command, "--help")[1]


def test_the_device_is_a_setting_of_the_run(tmp_path: Path) -> None:
    assert read_run_overrides(None, None, None, 0).recipe == {}
    assert read_run_overrides(None, None, None, 0, "CPU").recipe == {"run": {"device": "cpu"}}
    (tmp_path / "mine.toml").write_text("recipe = {run.device = 'cuda:1'}", encoding="utf-8")
    assert read_run_overrides(tmp_path / "mine.toml", None, None, 0, "cpu").recipe == {"run": {"device": "cpu"}}


@pytest.mark.parametrize("command", ["project", "folders"])
def test_a_network_can_be_named_in_the_command(medseg: Call, command: str) -> None:
    said = medseg("train", command, "--help")[1]
    assert "--model" in said
    assert "--backbone" in said


def test_model_and_backbone_go_before_the_recipe(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        "architecture = {name = 'unet', encoder = 'vgg11', options = {encoder_depth = 4}}", encoding="utf-8"
    )
    named = [
        read_run_overrides(mine, None, None, 0, None, network).architecture
        for network in (("", ""), ("unet", "resnet18"), ("", "resnet18"), ("segnet", ""), ("fcn", "resnet101"))
    ]
    kept = {"name": "unet", "encoder": "vgg11", "options": {"encoder_depth": 4}}
    assert named[:3] == [kept, kept | {"encoder": "resnet18"}, kept | {"encoder": "resnet18"}]
    assert named[3:] == [{"name": "segnet"}, {"name": "fcn", "encoder": "resnet101"}]


def test_a_run_goes_on_on_the_named_device(tmp_path: Path) -> None:
    recipe = make_fine_tuning_recipe("base", "lungs-unet", 2, None)
    write_recipe(recipe, tmp_path / RECIPE_FILE)
    _set_device(tmp_path, None)
    assert read_recipe(tmp_path / RECIPE_FILE) == recipe
    _set_device(tmp_path, "cpu")
    changed = read_recipe(tmp_path / RECIPE_FILE)
    assert changed.run.device == "cpu"
    assert changed.run.model_copy(update={"device": ""}) == recipe.run
    with hold_trainer_lock(tmp_path), pytest.raises(MedSegError, match="still under way"):
        _set_device(tmp_path, "cpu")
