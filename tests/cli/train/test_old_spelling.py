"""The old spelling of `medseg train` does what it did, and says how it is spelt now."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Picture
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.cli.train.old_spelling import translate_old_spelling
from napari_medseg.core.project.database import Project
from training.recipe import read_recipe

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "project"),
        ("-t larynx --budget-s 30 --json", "project -t larynx --budget 30 --json"),
        ("-tlarynx --budget-s=30", "project -t larynx --budget 30"),
        ("--from lungs-unet@1 --promote --reason x", "project --from lungs-unet@1 --promote --reason x"),
        ("--recipe mine.toml --epochs 20 --seed=3", "project --recipe mine.toml --epochs 20 --seed 3"),
        ("--images a --masks b --labels x,y -o run", "folders --images a --masks b --labels x,y -o run"),
        ("--check --masks=b --images=a --binarise", "folders --check --masks b --images a --binarise"),
        ("--images a --masks b --budget-s 9 --prepare", "folders --images a --masks b --budget 9 --prepare"),
        ("--images a --masks b --show-batch c.png", "folders --images a --masks b --preview c.png"),
        ("--images a", "folders --images a"),
        ("--continue", "resume"),
        ("--continue --task lungs --promote", "resume --task lungs --promote"),
        ("run --continue --json", "resume run --json"),
        ("--json --continue run", "resume run --json"),
        ("--continue -- run", "resume run"),
        ("--discard --task lungs --project p", "discard --task lungs --project p"),
        ("--show-batch c.png", "preview c.png"),
        ("--show-batch c.png -t lungs --registry r", "preview c.png -t lungs --registry r"),
        ("run --show-batch c.png", "preview c.png run"),
        ("recipe.json --data d --show-batch=c.png", "preview c.png recipe.json --data d"),
        ("--reason --promote --discard", "discard --reason --promote"),
    ],
)
def test_each_use_of_the_old_command_has_a_new_spelling(old: str, new: str) -> None:
    assert translate_old_spelling(["train", *old.split()]) == ["train", *new.split()]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "predict a --task train",
        "models list",
        "train project --json",
        "train folders --images a --masks b",
        "train resume run --json",
        "train discard",
        "train preview c.png run",
        "train --help",
        "train -h",
        "train projct",
    ],
)
def test_the_new_spelling_and_other_commands_are_left_alone(words: str) -> None:
    assert translate_old_spelling(words.split()) is None


def test_the_old_spelling_prepares_a_run_with_one_notice_on_stderr(medseg: Call, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        Picture.fromarray(phantom(number).pixels).save(tmp_path / "images" / f"p{number}.png")
        Picture.fromarray(phantom_labels()).save(tmp_path / "masks" / f"p{number}.png")
    where = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--registry", tmp_path / "registry")
    code, out, err = medseg("train", *where, "--labels", "a,b", "--check")
    assert (code, out.splitlines()[-1]) == (0, "3 pairs fit; nothing was trained.")
    assert err.startswith("medseg train --images ")
    assert " is now: medseg train folders --images " in err
    assert err.count("\n") == 1
    run_dir = tmp_path / "run"
    code, out, _ = medseg("train", *where, "--labels", "a,b", "--budget-s", 9, "--prepare", "--json", "-o", run_dir)
    assert code == 0
    assert json.loads(out)["folder"] == str(run_dir)
    assert read_recipe(run_dir / "recipe.json").run.budget_s == 9


def test_the_old_spelling_keeps_its_exit_codes(medseg: Call, tmp_path: Path) -> None:
    where = ("--project", tmp_path / "project", "--registry", tmp_path / "registry")
    Project.create(tmp_path / "project").close()
    code, out, err = medseg("train", "--continue", "--json", *where)
    assert (code, out) == (1, "")
    assert err.count("\n") == 2, "the notice, and the reason"
    assert "is now: medseg train resume --json" in err
    assert "has no paused or interrupted run" in err
    assert medseg("train", tmp_path, "--continue")[0] == 1
    assert medseg("train", "--fly")[0] == 2
