"""A paused run on the command line: how it goes on is said, and the same command takes it up."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from workflow_phantoms import accepted, phantom, phantom_labels, real_version

from napari_medseg.core.records import Run, RunState
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import CANCEL_FILE, PAUSE_FILE, EpochEnded, Paused, read_events

Call = Callable[..., tuple[int, str, str]]


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


def test_a_run_on_own_data_goes_on_by_its_folder(medseg: Call, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(10):
        Picture.fromarray(phantom(number).pixels).save(tmp_path / "images" / f"p{number}.png")
        Picture.fromarray(phantom_labels().astype(np.uint8)).save(tmp_path / "masks" / f"p{number}.png")
    changes = {
        "recipe": {"steps_per_epoch": 4, "batch_size": 2, "patch_px": 64},
        "preprocessing": {"min_side_px": 64, "max_side_px": 64},
    }
    (tmp_path / "small.json").write_text(json.dumps(changes))
    run_dir = tmp_path / "runs" / "one"
    where = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--registry", tmp_path / "registry")
    what = ("--labels", "dark,darker", "--recipe", tmp_path / "small.json", "--epochs", 4, "--out", run_dir)
    wish = wish_after_an_epoch(tmp_path / "runs", PAUSE_FILE)
    code, out, err = medseg("train", *where, *what)
    wish.join()
    assert code == 3, err
    assert f"medseg train {run_dir} --continue" in out
    (stood,) = (event for event, _ in read_events(run_dir) if isinstance(event, Paused))
    assert stood.epoch < 4
    code, out, err = medseg("train", run_dir, "--continue")
    assert code == 0, err
    assert (run_dir / "model.safetensors").exists()
    assert "To use it in the window" in out
    assert "is finished" in medseg("train", run_dir, "--continue")[2]
    assert "is no run folder" in medseg("train", tmp_path, "--continue")[2]


def test_a_projects_run_goes_on_by_its_task_or_is_discarded(medseg: Call, tmp_path: Path) -> None:
    registry, project = tmp_path / "registry", tmp_path / "project"
    real_version(registry / "lungs-unet" / "77", version=77)
    ws = Workspace.open(project, registry)
    ws.registry.promote("lungs-unet@77", "a test")
    for number in range(3):
        accepted(ws, number)
    ws.close()
    where = ("--project", project, "--registry", registry)
    code, _, err = medseg("train", "--continue", *where)
    assert (code, "no run of the task 'lungs' was paused" in err) == (1, True)
    wish = wish_after_an_epoch(project / "runs", PAUSE_FILE)
    code, out, err = medseg("train", "--budget", 600, "--json", *where)
    wish.join()
    assert code == 3, err
    told = json.loads(out)
    assert (told["state"], told["continue"]) == ("paused", "medseg train --task lungs --continue")
    assert "is paused. Go on with it" in medseg("train", *where)[2]
    wish = wish_after_an_epoch(project / "runs", CANCEL_FILE)
    code, out, err = medseg("train", "--continue", "--json", *where)
    wish.join()
    assert code == 0, err
    assert json.loads(out)["model"] == "lungs-unet@78"
    assert json.loads(out)["live"] == "lungs-unet@77"
    assert medseg("train", "--discard", *where)[0] == 1
    ws = Workspace.open(project, registry)
    (run,) = ws.project.read_records(Run)
    ws.project.set_run_state(run, RunState.PAUSED)
    ws.close()
    assert "is discarded" in medseg("train", "--discard", *where)[1]
