"""`medseg train project`: a run on a project's corrections, its comparison, and its promotion."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_phantoms import accepted, real_version

from napari_medseg.core.model_card import read_card
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Run
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.workspace import Workspace
from training.recipe import read_recipe
from training.run_folder import Compared, EpochEnded, read_events

pytestmark = pytest.mark.usefixtures("warm_trainings")
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
        'architecture = {name = "unet", encoder = "resnet18", options = {decoder_channels = [16, 16, 16, 8, 8]}}\n'
        f'weights = "none"\nrecipe = {{loss = "focal_dice", {small}}}\n'
    )
    code, out, err = medseg("train", "project", "--recipe", recipe, "--epochs", 2, "--seed", 5, "--json", *place)
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["model"], answer["live"]) == ("lungs-unet@78", "lungs-unet@77")
    folder = only_run(tmp_path / "project")
    written = read_recipe(folder / "recipe.json")
    assert (written.schedule.n_epochs, written.schedule.patience, written.run.budget_s, written.run.seed) == (
        2,
        2,
        None,
        5,
    )
    assert written.loss.terms == "focal_dice"
    assert written.run.compare_with == str(tmp_path / "registry" / "lungs-unet" / "77")
    assert (folder / "start.json").is_file()
    assert "Finished" in (folder / "log.txt").read_text(encoding="utf-8")
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


def test_a_run_from_another_version_for_some_epochs_is_not_promoted_without_proof(
    medseg: Call, place: tuple[object, ...], tmp_path: Path
) -> None:
    code, _, err = medseg("train", "project", "--from", "lungs-unet@999", *place)
    assert (code, "'lungs-unet@76', 'lungs-unet@77'" in err) == (1, True), err
    recipe = tmp_path / "small.json"
    recipe.write_text(json.dumps({"recipe": SMALL}))
    how = ("--from", "lungs-unet@76", "--epochs", 1, "--recipe", recipe, "--promote", "--json")
    code, out, err = medseg("train", "project", *how, *place)
    assert code == 1, err
    assert "is not promoted" in err
    assert "medseg models promote lungs-unet@78 --reason" in err, "the same command again would train again"
    answer = json.loads(out)
    assert (answer["model"], answer["live"]) == ("lungs-unet@78", "lungs-unet@77")
    assert answer["verdict"]["decision"] != "better", "one hold-out case proves nothing"
    listed = json.loads(medseg("models", "list", "--json", *place[2:])[1])
    assert next(entry["model"] for entry in listed if entry["model"].startswith("lungs-")) == "lungs-unet@78"
    folder = only_run(tmp_path / "project")
    written = read_recipe(folder / "recipe.json")
    assert Path(written.run.base).name == "76"
    assert (Path(written.run.compare_with).name, written.run.budget_s) == ("77", None)
    assert read_card(folder / "card.json").lineage.parent == "lungs-unet@76"
    ws = Workspace.open(tmp_path / "project", tmp_path / "registry")
    (run,) = ws.project.read_records(Run)
    ws.close()
    assert run.base_model == "lungs-unet@77", "the one that it is compared with"


def test_without_corrections_nothing_is_trained(medseg: Call, tmp_path: Path, registry: Path) -> None:
    Project.create(tmp_path / "p").close()
    code, out, err = medseg("train", "project", "--project", tmp_path / "p", "--registry", registry)
    assert (code, out) == (1, "")
    assert "no correction to learn from" in err


def test_a_reason_without_a_promotion_is_wrong_usage(medseg: Call, place: tuple[object, ...], tmp_path: Path) -> None:
    code, out, err = medseg("train", "project", "--reason", "x", *place)
    assert (code, out) == (2, "")
    assert "--reason is only used with --promote" in err
    assert not (tmp_path / "project" / "runs").is_dir() or not list((tmp_path / "project" / "runs").iterdir())
