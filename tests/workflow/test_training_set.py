"""What a version that learnt from somebody's own folders brings along for its descendants."""

import logging
from pathlib import Path

import pytest
from workflow_phantoms import accepted, phantom, phantom_labels, write_version

from napari_medseg.core import formats
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.hold_out.sides import set_held_out
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace


def older_image(folder: Path, name: str, group: str) -> ReplayImage:
    image = phantom(7)
    folder.mkdir(exist_ok=True)
    formats.write_image(folder / f"{name}.tif", image)
    formats.write_labels(folder / f"{name}_labels.tif", phantom_labels(), image)
    places = {"image": str(folder / f"{name}.tif"), "labels": str(folder / f"{name}_labels.tif")}
    return ReplayImage(name=name, group=group, **places)


def test_what_its_parent_learnt_from_is_replayed_and_handed_on(
    ws: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = [older_image(tmp_path / "own", name, name) for name in ("a", "b", "c")]
    made = write_version(tmp_path / "run", version=1, weights=b"own")
    write_replay_images(made, listed)
    live = ws.registry.add(made)
    ws.registry.promote(live.id)
    Path(listed[1].image).unlink()
    accepted(ws, 0, "a")
    accepted(ws, 1, "z")
    for group, held in (("a", True), ("z", False)):
        set_held_out(ws, group, held)
    with caplog.at_level(logging.WARNING):
        snapshot, _ = build_snapshot(ws, "lungs")
    own = [item for item in snapshot.items if item.source == f"learnt by {live.id}"]
    assert [(item.name, item.role) for item in own] == [("c", Role.REPLAY)], "b is gone, a is held out"
    assert "1 of 3 older images of lungs-unet@2 are missing and not replayed: ['b']" in caplog.text
    run = retrain.start_run(ws, "lungs", budget_s=1.0)
    run_control.cancel(ws, run)
    assert read_replay_images(run_control.get_run_folder(ws, run)) == tuple(listed)
    ws.child_processes[run.id].wait()
