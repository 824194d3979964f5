"""What a version that learnt from somebody's own folders brings along for its descendants."""

import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, phantom_labels, predicted, write_version

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.grouping.keyed_groups import is_keyed_group
from napari_medseg.core.image import Image
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.data_checks import check_corrections
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace


def older_image(folder: Path, name: str, group: str) -> ReplayImage:
    image = phantom(7)
    folder.mkdir(exist_ok=True)
    formats.write_image(folder / f"{name}.tif", image)
    formats.write_labels(folder / f"{name}_labels.tif", phantom_labels(), image)
    places = {"image": str(folder / f"{name}.tif"), "labels": str(folder / f"{name}_labels.tif")}
    return ReplayImage(name=name, group=group, **places)


def test_what_its_parent_learnt_from_is_replayed_and_handed_on(
    ws: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
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
    assert [(item.name, item.role) for item in own] == [(f"image 3 of {live.id}", Role.REPLAY)], (
        "b is gone, a is held out"
    )
    assert "1 of 3 older images of lungs-unet@2 are missing and not replayed" in caplog.text
    monkeypatch.setattr(sys, "executable", shutil.which("true"))  # its process does nothing: its folder is asked for
    run = retrain.start_run(ws, "lungs", budget_s=1.0)
    handed_on = read_replay_images(run_control.get_run_folder(ws, run))
    assert [image.image for image in handed_on] == [image.image for image in listed]
    assert all(is_keyed_group(image.group) for image in handed_on), "the clear groups of an older version stay there"
    assert len({image.group for image in handed_on}) == 3
    ws.child_processes[run.id].wait()


def test_what_the_hold_out_shows_is_not_replayed_whatever_its_name(ws: Workspace, tmp_path: Path) -> None:
    """Folder training names the group `bl/c04`, the project `c04`; and a hold-out case may be a copy under any name."""
    listed = [older_image(tmp_path / "own", name, f"bl/{name}") for name in ("c04", "copy", "beside", "other")]
    for number, image in enumerate(listed):
        formats.write_image(Path(image.image), phantom(20 + number))
    listed[2] = listed[2].model_copy(update={"group": listed[1].group})
    made = write_version(tmp_path / "run", version=1, weights=b"own")
    write_replay_images(made, listed)
    ws.registry.promote(ws.registry.add(made).id)
    for number, group, held_out in ((0, "c04", True), (21, "elsewhere", True), (2, "z", False)):
        accepted(ws, number, group)
        set_held_out(ws, group, held_out)
    snapshot, _ = build_snapshot(ws, "lungs")
    assert [item.name for item in snapshot.filter_by_role(Role.REPLAY) if item.source != "bundled sample"] == [
        "image 4 of lungs-unet@2"
    ]
    (finding,) = [one for one in check_corrections(ws, "lungs") if one.finding.kind == "duplicate"]
    assert (finding.case.file_name, finding.finding.blocking) == ("slice 21", False)
    assert "the model was trained on it as image 2 of lungs-unet@2" in finding.text


def test_a_bundled_sample_that_was_saved_as_png_is_not_replayed_if_it_is_held_out(ws: Workspace) -> None:
    sample = formats.read(sorted((PACKAGE_DIR / "samples" / "ct_a0001" / "dicom").iterdir())[3])
    shown = ((np.clip(sample.pixels, -1350, 150) + 1350) / 1500 * 255).astype(np.uint8)
    case, _ = predicted(ws, Image(shown, "YX", name="0004", group="series"))
    labels = np.zeros(shown.shape, np.uint8)
    labels[200:300, 100:200], labels[200:300, 300:400] = 1, 2
    accept(ws, open_review(ws, case, None), labels, Image(shown, "YX", name="0004", group="series"))
    accepted(ws, 2, "z")
    before = list_replayed_images(ws, "lungs")
    for group, held_out in (("series", True), ("z", False)):
        set_held_out(ws, group, held_out)
    replayed = build_snapshot(ws, "lungs")[0].filter_by_role(Role.REPLAY)
    assert any(item.group == sample.group for item in before)
    assert not any(item.group == sample.group for item in replayed)


def test_the_trainer_is_told_which_voxels_a_person_set(ws: Workspace) -> None:
    for number, group in enumerate(("a", "b", "c")):
        accepted(ws, number, group)
    for group, held in (("a", False), ("b", False), ("c", True)):
        set_held_out(ws, group, held)
    snapshot, _ = build_snapshot(ws, "lungs")
    own = [item for item in snapshot.items if item.source == "corrections"]
    told = [item for item in own if item.role is Role.TRAIN]
    assert told
    for item in own:
        assert bool(item.certain_mask) == (item.role is Role.TRAIN)
    for item in told:
        assert np.count_nonzero(formats.read_labels(Path(item.certain_mask), None)) == 1  # what `accepted` paints
        assert item.certain_sha256 == compute_file_sha256(Path(item.certain_mask))
    assert build_snapshot(ws, "lungs")[0] == snapshot
