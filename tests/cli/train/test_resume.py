"""`medseg train resume`: paused and prepared runs go on to the same result, and the command that does it is printed."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Picture
from workflow_phantoms import accepted, phantom, phantom_labels, real_version

from napari_medseg.core.model_card import read_card
from napari_medseg.workflow.workspace import Workspace
from training.__main__ import main as train
from training.run_folder import CANCEL_FILE, PAUSE_FILE, EpochEnded, Paused, read_events

pytestmark = pytest.mark.usefixtures("warm_trainings")
Call = Callable[..., tuple[int, str, str]]
SMALL = {"steps_per_epoch": 2, "batch_size": 2, "patch_px": 64}


def n_epochs(runs_dir: Path) -> int:
    found = [event for folder in runs_dir.glob("*") for event, _ in read_events(folder)]
    return sum(isinstance(event, EpochEnded) for event in found)


def wish_after_an_epoch(runs_dir: Path, wish: str) -> threading.Thread:
    """Put a wish into the run's folder as soon as one more epoch is over, as a person or a scheduler does."""
    before = n_epochs(runs_dir)

    def watch() -> None:
        began = time.monotonic()
        while n_epochs(runs_dir) == before and time.monotonic() - began < 200:
            time.sleep(0.02)
        for folder in runs_dir.glob("*"):
            (folder / wish).touch()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_prepared_run_is_paused_resumed_trained_elsewhere_and_evaluated(medseg: Call, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(5):
        Picture.fromarray(phantom(number).pixels).save(tmp_path / "images" / f"p{number}.png")
        Picture.fromarray(phantom_labels()).save(tmp_path / "masks" / f"p{number}.png")
    changes = {"recipe": SMALL, "preprocessing": {"min_side_px": 64, "max_side_px": 64}}
    (tmp_path / "small.json").write_text(json.dumps(changes))
    run_dir = tmp_path / "runs" / "one"
    own = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--labels", "dark,darker")
    how = ("--epochs", 3, "--recipe", tmp_path / "small.json", "--registry", tmp_path / "registry", "-o", run_dir)
    code, out, err = medseg("train", "folders", *own, *how, "--prepare", "--json")
    assert code == 0, err
    prepared = json.loads(out)
    assert prepared["folder"] == str(run_dir)
    assert prepared["train"].endswith(f"-m training {run_dir}")
    assert prepared["judge"] == f"medseg train resume {run_dir}"
    assert not list(read_events(run_dir))

    wish = wish_after_an_epoch(tmp_path / "runs", PAUSE_FILE)
    code, out, err = medseg("train", "resume", run_dir)
    wish.join()
    assert code == 3, err
    assert f"medseg train resume {run_dir}" in out
    (stood,) = (event for event, _ in read_events(run_dir) if isinstance(event, Paused))
    assert stood.epoch < 3
    assert train([str(run_dir)]) == 0  # what the printed command does, elsewhere
    assert (run_dir / "evaluation.html").is_file(), "evaluated in the pass that compares it"
    code, out, err = medseg("train", "resume", run_dir)
    assert code == 0, err
    assert "To use it in the window" in out
    assert read_card(run_dir / "card.json").hold_out[0].n_images == 1
    assert (run_dir / "model.safetensors").exists()
    assert (run_dir / "older.json").is_file(), "what its descendants replay"
    assert "is finished and evaluated" in medseg("train", "resume", run_dir)[2]
    assert "is no run folder" in medseg("train", "resume", tmp_path)[2]


def test_a_projects_run_is_resumed_by_its_task(medseg: Call, tmp_path: Path) -> None:
    registry, project = tmp_path / "registry", tmp_path / "project"
    real_version(registry / "lungs-unet" / "77", version=77)
    ws = Workspace.open(project, registry)
    ws.registry.promote("lungs-unet@77", "a test")
    for number in range(3):
        accepted(ws, number)
    ws.close()
    where = ("--project", project, "--registry", registry)
    code, _, err = medseg("train", "resume", *where)
    assert (code, "the task 'lungs' has no paused" in err) == (1, True)
    wish = wish_after_an_epoch(project / "runs", PAUSE_FILE)
    (tmp_path / "small.json").write_text(json.dumps({"recipe": SMALL}))
    code, out, err = medseg("train", "project", "--budget", 600, "--recipe", tmp_path / "small.json", "--json", *where)
    wish.join()
    assert code == 3, err
    told = json.loads(out)
    assert (told["state"], told["continue"]) == ("paused", "medseg train resume --task lungs")
    assert "is paused. Resume or discard it" in medseg("train", "project", *where)[2]
    wish = wish_after_an_epoch(project / "runs", CANCEL_FILE)
    code, out, err = medseg("train", "resume", "--json", *where)
    wish.join()
    assert code == 0, err
    assert json.loads(out)["model"] == "lungs-unet@78"
    assert json.loads(out)["live"] == "lungs-unet@77"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--promote"), "are for the run of a project"),
        (("run", "--task", "lungs"), "are for the run of a project"),
        (("--reason", "x"), "--reason is only used with --promote"),
        (("--epochs", "3"), "No such option"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    medseg: Call, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = medseg("train", "resume", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
