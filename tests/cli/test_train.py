"""`medseg train` by its options: a recipe on a project's corrections, and a run folder that other processes train."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Picture
from workflow_phantoms import accepted, phantom, phantom_labels, real_version

from napari_medseg.core.model_card import read_card
from napari_medseg.core.records import Run
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.workflow.cases import set_held_out
from napari_medseg.workflow.workspace import Workspace
from training.recipe import read_recipe
from training.run_folder import Compared, EpochEnded, read_events

Call = Callable[..., tuple[int, str, str]]
SMALL = {"steps_per_epoch": 2, "batch_size": 2, "patch_px": 64}


@pytest.fixture
def place(tmp_path: Path) -> tuple[object, ...]:
    """A project with three corrections, one held out, and versions 76 and 77 of its model, the last one live."""
    registry, project = tmp_path / "registry", tmp_path / "project"
    for version in (76, 77):
        real_version(registry / "lungs-unet" / str(version), version=version)
    ws = Workspace.open(project, registry)
    ws.registry.promote("lungs-unet@77", "a test")
    cases = [accepted(ws, number) for number in range(3)]
    for number, case in enumerate(cases):
        set_held_out(ws, case.group, number == 0)
    ws.close()
    return ("--project", project, "--registry", registry)


def only_run(project: Path) -> Path:
    (folder,) = (project / "runs").iterdir()
    return folder


def test_a_recipe_with_another_network_is_trained_on_corrections_and_compared_with_the_live_version(
    medseg: Call, place: tuple[object, ...], tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    small = ", ".join(f"{key} = {value}" for key, value in SMALL.items())
    recipe.write_text(
        'architecture = {encoder = "resnet18", options = {decoder_channels = [16, 16, 16, 8, 8]}}\n'
        f'weights = "none"\nrecipe = {{loss = "focal_dice", {small}}}\n'
    )
    code, out, err = medseg("train", "--recipe", recipe, "--epochs", 2, "--seed", 5, "--json", *place)
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["model"], answer["live"]) == ("lungs-unet@78", "lungs-unet@77")
    folder = only_run(tmp_path / "project")
    written = read_recipe(folder / "recipe.json")
    assert (written.schedule.n_epochs, written.schedule.patience) == (2, 2)
    assert (written.run.budget_s, written.run.seed) == (None, 5)
    assert written.loss.terms == "focal_dice"
    assert written.run.compare_with == str(tmp_path / "registry" / "lungs-unet" / "77")
    assert (folder / "start.json").is_file()
    assert not read_snapshot(folder / "snapshot.json").filter_by_role(Role.REPLAY)
    events = [event for event, _ in read_events(folder)]
    assert sum(isinstance(event, EpochEnded) for event in events) == 2
    (compared,) = (event for event in events if isinstance(event, Compared))
    assert compared.old > 0, "the live version finds something; the empty answer would not"
    assert answer["verdict"]["cases"][0]["old"] == compared.old
    card = read_card(tmp_path / "registry" / "lungs-unet" / "78" / "card.json")
    assert (card.architecture.encoder, card.architecture.classes) == ("resnet18", 3)
    assert (card.lineage.parent, card.lineage.n_corrections, card.lineage.seed) == (None, 2, 5)
    assert card.lineage.began_with == "random weights, as asked for"


def test_a_run_from_another_version_for_some_epochs(medseg: Call, place: tuple[object, ...], tmp_path: Path) -> None:
    code, _, err = medseg("train", "--from", "lungs-unet@999", *place)
    assert (code, "'lungs-unet@76', 'lungs-unet@77'" in err) == (1, True), err
    recipe = tmp_path / "small.json"
    recipe.write_text(json.dumps({"recipe": SMALL}))
    code, _, err = medseg("train", "--from", "lungs-unet@76", "--epochs", 1, "--recipe", recipe, "--json", *place)
    assert code == 0, err
    folder = only_run(tmp_path / "project")
    written = read_recipe(folder / "recipe.json")
    assert Path(written.run.base).name == "76"
    assert (Path(written.run.compare_with).name, written.run.budget_s) == ("77", None)
    assert read_card(folder / "card.json").lineage.parent == "lungs-unet@76"
    ws = Workspace.open(tmp_path / "project", tmp_path / "registry")
    (run,) = ws.project.read_records(Run)
    ws.close()
    assert run.base_model == "lungs-unet@77", "the one that it is compared with"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--labels", "a", "--skip-mismatches"), "--labels, --skip-mismatches cannot be used for training on"),
        (("--out", "x", "--prepare"), "--out, --prepare cannot be used for training on a project"),
        (("--hold-out", "p1", "--task", "lungs"), "give --images and --masks"),
        (("--images", "a", "--masks", "b", "--from", "x@1"), "--from cannot be used for training on folders"),
        (("--images", "a", "--masks", "b", "--promote", "--reason", "x"), "--promote, --reason cannot be used"),
        (("--images", "a", "--masks", "b", "--project", "p"), "--project cannot be used"),
        (("--images", "a"), "both --images and --masks"),
        (("--continue", "--epochs", "3"), "--epochs cannot be used for --continue with a project"),
        (("run", "--continue", "--seed", "3"), "--seed cannot be used for --continue with a run folder"),
        (("--discard", "--json"), "--json cannot be used for --discard"),
        (("recipe.json", "--budget", "9"), "--budget cannot be used for a run folder or base recipe"),
        (("--reason", "x"), "add --promote"),
    ],
)
def test_no_option_is_ignored(medseg: Call, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = medseg("train", *arguments)
    assert (code, out) == (1, "")
    assert said in err


def test_a_prepared_run_is_trained_elsewhere_and_judged_by_continuing(medseg: Call, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(5):
        Picture.fromarray(phantom(number).pixels).save(tmp_path / "images" / f"p{number}.png")
        Picture.fromarray(phantom_labels()).save(tmp_path / "masks" / f"p{number}.png")
    changes = {"recipe": SMALL, "preprocessing": {"min_side_px": 64, "max_side_px": 64}}
    (tmp_path / "small.json").write_text(json.dumps(changes))
    run_dir = tmp_path / "run"
    own = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--labels", "dark,darker")
    how = ("--epochs", 1, "--recipe", tmp_path / "small.json", "--registry", tmp_path / "registry", "-o", run_dir)
    assert "Give one of them" in medseg("train", *own, *how, "--prepare", "--check")[2]
    code, out, err = medseg("train", *own, *how, "--prepare", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["folder"] == str(run_dir)
    assert told["train"].endswith(f"-m training {run_dir}")
    assert told["judge"] == f"medseg train {run_dir} --continue"
    assert not list(read_events(run_dir))
    subprocess.run([sys.executable, "-P", "-m", "training", str(run_dir)], check=True, timeout=200)
    assert not (run_dir / "evaluation.html").exists()
    code, out, err = medseg("train", run_dir, "--continue", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["hold_out"][0]["n_images"] == 1
    assert (run_dir / "evaluation.html").is_file()
    assert "is finished and judged" in medseg("train", run_dir, "--continue")[2]
