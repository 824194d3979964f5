"""What older versions wrote into run folders and lists of replayed images loses its names on request."""

import json
import os
import shutil
from pathlib import Path

import pytest
from workflow_phantoms import accepted, write_version

from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import Role, Snapshot, read_snapshot, write_snapshot
from napari_medseg.workflow import retrain
from napari_medseg.workflow.output.names_in_old_runs import NOTE_FILE, OLD_HASH, RemovedNames, remove_old_names
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Compared, Notice, append_event, read_events

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


def find_names(folder: Path) -> list[str]:
    """Return the files that hold an old name, also in folders below."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in files if any(name.encode() in path.read_bytes() for name in NAMES)]


def test_an_old_run_loses_its_names_and_can_still_be_read(ws: Workspace, old_run: Path) -> None:
    run = ws.project.get_record(Run, "r1")
    before = retrain.read_comparison(ws, run)
    seen = read_snapshot(old_run / "snapshot.json").sha256
    done = remove_old_names(ws)
    assert done.problems == []
    assert {path.name for path in done.changed} == {"r1", "project.before-version-6.sqlite"}
    assert find_names(old_run) == []
    (held,) = read_snapshot(old_run / "snapshot.json").filter_by_role(Role.HOLD_OUT)
    case = next(case for case in ws.project.read_records(Case) if case.held_out)
    assert (held.name, held.group) == (case.name, case.group)
    after = retrain.read_comparison(ws, run)
    assert [row.case for row in after.rows] == [row.case for row in before.rows] == [case]
    assert after.verdict.n_earlier == before.verdict.n_earlier
    assert "worst: patient 2 case 2, 3 epochs" in (old_run / "report.html").read_text(encoding="utf-8")
    assert json.loads((old_run / NOTE_FILE).read_text("utf-8"))[OLD_HASH] == seen
    assert remove_old_names(ws) == RemovedNames(), "a second time there is nothing to do"


def test_a_run_that_goes_on_is_left_as_it_is(ws: Workspace, old_run: Path) -> None:
    (old_run / "checkpoint.safetensors").write_bytes(b"")
    content = (old_run / "snapshot.json").read_bytes()
    remove_old_names(ws)
    assert (old_run / "snapshot.json").read_bytes() == content


def test_the_list_of_a_version_that_was_trained_on_folders_loses_its_names(ws: Workspace, tmp_path: Path) -> None:
    made = write_version(tmp_path / "run", version=1, weights=b"own")
    write_replay_images(made, [ReplayImage(name="bl/Zqerika_1", image="/a.tif", labels="/b.tif", group="bl/Zqerika")])
    card = ws.registry.add(made)
    (changed,) = remove_old_names(ws).changed
    assert changed == ws.registry.get_folder(card.id) / "older.json"
    (image,) = read_replay_images(changed.parent)
    assert (image.name, image.image) == ("image 1 of lungs-unet@2", "/a.tif")
    assert "Zqerika" not in changed.read_text(encoding="utf-8")


def test_a_call_that_is_killed_anywhere_is_finished_by_the_next_one(
    ws: Workspace, old_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed before the n-th file is put in its place, for each n."""
    seen = read_snapshot(old_run / "snapshot.json").sha256
    shutil.copytree(old_run, tmp_path / "before")
    rename, n_allowed, n_killed = os.replace, 0, 0

    def rename_or_die(source: Path, target: Path) -> None:
        nonlocal n_allowed
        n_allowed -= 1
        if n_allowed < 0:
            raise KeyboardInterrupt
        rename(source, target)

    for number in range(20):
        shutil.rmtree(old_run)
        shutil.copytree(tmp_path / "before", old_run)
        n_allowed = number
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", rename_or_die)
            try:
                remove_old_names(ws)
                break
            except KeyboardInterrupt:
                n_killed += 1
        assert old_run in remove_old_names(ws).changed
        assert find_names(old_run) == []
        assert json.loads((old_run / NOTE_FILE).read_text("utf-8"))[OLD_HASH] == seen
        assert remove_old_names(ws) == RemovedNames()
    assert n_killed >= 5


def test_a_file_that_is_held_is_named_and_the_next_call_finishes_the_run(ws: Workspace, old_run: Path) -> None:
    held = old_run / "evaluation.csv"
    held.mkdir()  # it cannot be read as a file
    done = remove_old_names(ws)
    assert [str(held) in text for text in done.problems] == [True]
    assert old_run not in done.changed
    assert find_names(old_run) == ["snapshot.json"], "the others are clean; the next call needs this one"
    held.rmdir()
    assert remove_old_names(ws) == RemovedNames([old_run])
    assert find_names(old_run) == []


def test_a_damaged_list_or_snapshot_is_named_and_the_rest_goes_on(ws: Workspace, old_run: Path, tmp_path: Path) -> None:
    card = ws.registry.add(write_version(tmp_path / "run", version=1, weights=b"own"))
    (ws.registry.get_folder(card.id) / "older.json").write_text("[", encoding="utf-8")
    broken = ws.project.folder / "runs" / "r0"
    broken.mkdir()
    (broken / "snapshot.json").write_text("{", encoding="utf-8")
    ws.project.insert(Run("r0", "lungs", "lungs-unet@1", "runs/r0", RunState.FINISHED, 2, None, "2024"))
    done = remove_old_names(ws)
    assert len(done.problems) == 2
    assert all(any(str(path) in text for text in done.problems) for path in (broken, "older.json"))
    assert old_run in done.changed
    assert find_names(old_run) == []


def test_a_torn_line_costs_only_itself_and_tensorboard_files_go(ws: Workspace, old_run: Path) -> None:
    with (old_run / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "Compared", "case": "Zqott\n\xff\xfeZqerika\n')
    append_event(old_run, Notice("the last one"))
    (old_run / ".writing-1-events.jsonl").write_bytes(b"Zqotto")
    (old_run / "tensorboard").mkdir()
    (old_run / "tensorboard" / "events.out.tfevents.1").write_bytes(b"hold-out: Zqotto: 0.5 -> 0.6")
    remove_old_names(ws)
    assert find_names(old_run) == []
    assert b"Zqott" not in (old_run / "events.jsonl").read_bytes()
    events = [event for event, _ in read_events(old_run)]
    assert [type(event).__name__ for event in events] == ["Compared", "Notice", "Notice"]
    assert not (old_run / "tensorboard").exists()


def test_a_run_of_this_version_is_left_as_it_is(ws: Workspace) -> None:
    """Its names are labels, also after a case got another group and with it another label."""
    for number, name in enumerate(NAMES):
        accepted(ws, number, name)
    snapshot, _ = build_snapshot(ws, "lungs")
    folder = ws.project.folder / "runs" / "r2"
    folder.mkdir(parents=True)
    renamed = [item.model_copy(update={"name": f"{item.name}0"}) for item in snapshot.items[:2]]
    write_snapshot(Snapshot(task="lungs", items=tuple(renamed)), folder / "snapshot.json")
    ws.project.insert(Run("r2", "lungs", "lungs-unet@1", "runs/r2", RunState.FINISHED, 2, None, "2025"))
    assert remove_old_names(ws) == RemovedNames()
