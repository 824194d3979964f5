"""What older versions wrote into run folders and lists of replayed images loses its names on request."""

import json
from pathlib import Path

import pytest
from workflow_phantoms import accepted, write_version

from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import Role, Snapshot, read_snapshot, write_snapshot
from napari_medseg.workflow import retrain
from napari_medseg.workflow.output.names_in_old_runs import NOTE_FILE, remove_old_names
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Compared, Notice, append_event

NAMES = ("Zqerika", "Zqotto")


@pytest.fixture
def old_run(ws: Workspace) -> Path:
    """A run as an older version wrote it: clear names in its snapshot, events, log and report."""
    for number, name in enumerate(NAMES):
        accepted(ws, number, name)
    ws.project.set_hold_out(NAMES[0], False)
    ws.project.set_hold_out(NAMES[1], True)
    snapshot, _ = build_snapshot(ws, "lungs")
    clear = ws.project.identities.read_groups()
    items = [
        item.model_copy(update={"name": clear[item.group], "group": clear[item.group]}) for item in snapshot.items[:2]
    ]
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir(parents=True)
    write_snapshot(Snapshot(task="lungs", items=tuple(items)), folder / "snapshot.json")
    append_event(folder, Compared("Zqotto", "corrections", 0.5, 0.6, {}, {}, "Zqotto"))
    append_event(folder, Notice("Zqerika cannot be read"))
    (folder / "log.txt").write_text("INFO Zqerika\n", encoding="utf-8")
    (folder / "report.html").write_text("<td>Zqotto</td><p>worst: Zqotto, 3 epochs</p>", encoding="utf-8")
    (folder / "split.json").write_text(json.dumps({"train": [{"name": "Zqerika", "group": "Zqerika"}]}), "utf-8")
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FINISHED, 2, None, "2025"))
    (ws.project.folder / "project.before-version-6.sqlite").write_bytes(b"Zqerika")
    return folder


def test_an_old_run_loses_its_names_and_can_still_be_read(ws: Workspace, old_run: Path) -> None:
    run = ws.project.get_record(Run, "r1")
    before = retrain.read_comparison(ws, run)
    seen = read_snapshot(old_run / "snapshot.json").sha256
    changed = remove_old_names(ws)
    assert {path.name for path in changed} == {"r1", "project.before-version-6.sqlite"}
    for path in (path for path in old_run.iterdir() if path.is_file()):
        assert not [name for name in NAMES if name.encode() in path.read_bytes()], path.name
    (held,) = read_snapshot(old_run / "snapshot.json").filter_by_role(Role.HOLD_OUT)
    case = next(case for case in ws.project.read_records(Case) if case.held_out)
    assert (held.name, held.group) == (case.name, case.group)
    after = retrain.read_comparison(ws, run)
    assert [row.case for row in after.rows] == [row.case for row in before.rows] == [case]
    assert after.verdict.n_earlier == before.verdict.n_earlier
    assert "worst: patient 2 case 2, 3 epochs" in (old_run / "report.html").read_text(encoding="utf-8")
    assert json.loads((old_run / NOTE_FILE).read_text("utf-8"))["snapshot_sha256_of_the_run"] == seen
    assert remove_old_names(ws) == [], "a second time there is nothing to do"


def test_a_run_that_goes_on_is_left_as_it_is(ws: Workspace, old_run: Path) -> None:
    (old_run / "checkpoint.safetensors").write_bytes(b"")
    content = (old_run / "snapshot.json").read_bytes()
    remove_old_names(ws)
    assert (old_run / "snapshot.json").read_bytes() == content


def test_the_list_of_a_version_that_was_trained_on_folders_loses_its_names(ws: Workspace, tmp_path: Path) -> None:
    made = write_version(tmp_path / "run", version=1, weights=b"own")
    write_replay_images(made, [ReplayImage(name="bl/Zqerika_1", image="/a.tif", labels="/b.tif", group="bl/Zqerika")])
    card = ws.registry.add(made)
    (changed,) = remove_old_names(ws)
    assert changed == ws.registry.get_folder(card.id) / "older.json"
    (image,) = read_replay_images(changed.parent)
    assert (image.name, image.image) == ("image 1 of lungs-unet@2", "/a.tif")
    assert "Zqerika" not in changed.read_text(encoding="utf-8")
