"""Archives that somebody made to have a file of this computer read, or a model used that nobody here chose."""

import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from workflow_phantoms import accepted, phantom, predicted, write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.records import Case, Run, RunState, now
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import read_snapshot, write_snapshot
from napari_medseg.workflow.storage.foreign_paths import is_absolute_path, leads_out
from napari_medseg.workflow.storage.manifest import MANIFEST_FILE
from napari_medseg.workflow.storage.pack import pack_project
from napari_medseg.workflow.storage.unpack import UnpackedProject, unpack_project
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace

Result = TypeVar("Result")
ELSEWHERE = ("/home/x/private.png", r"\\host\share\a.png", "C:/Users/x/a.png", "~/a.png", "../../../a.png", "a.png")


def finish(work: Generator[object, None, Result]) -> Result:
    """Run a generator to its result."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]


@pytest.fixture
def project(ws: Workspace, tmp_path: Path) -> Workspace:
    """Accepted cases, one that is not, a paused run, and a live version that replays images."""
    for number, group in enumerate(("Anna Berg", "Otto Roth", "Ida Falk")):
        accepted(ws, number, group)
    predicted(ws, phantom(9))
    with ws.project.transaction():
        places = json.dumps([str(tmp_path / "private" / "a.dcm")])
        ws.project._connection.execute("UPDATE identities SET sources = ? WHERE kind = 'case'", [places])
    run = ws.project.folder / "runs" / "r1"
    run.mkdir(parents=True)
    snapshot = build_snapshot(ws, "lungs")[0]
    outside = snapshot.items[0].model_copy(update={"image": "/home/x/private.png", "labels": "../../../../x.tif"})
    inside = snapshot.items[1].model_copy(update={"image": "../../images/a.tif"})
    write_snapshot(snapshot.model_copy(update={"items": (outside, inside)}), run / "snapshot.json")
    (run / "recipe.json").write_text(json.dumps({"run": {"base": "/home/x/models/lungs-unet/1", "compare_with": ""}}))
    (run / "start.json").write_text("{}")
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.PAUSED, 3, None, now()))
    version = write_version(tmp_path / "made", 2, b"better", parent="lungs-unet@1")
    listed = [ReplayImage(name="a", image=place, labels=place, group="g") for place in ELSEWHERE]
    write_replay_images(version, listed)
    ws.registry.promote(ws.registry.add(version).id, "typed")
    return ws


def repack(ws: Workspace, target: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    """Pack a project, change its rows as somebody could, and make the list of the archive fit."""
    finish(pack_project(ws.project.folder, target, ws.registry))
    with zipfile.ZipFile(target) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    rows = target.with_suffix(".sqlite")
    rows.write_bytes(entries[f"project/{DATABASE}"])
    with closing(sqlite3.connect(rows)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        change(connection)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    entries[f"project/{DATABASE}"] = data = rows.read_bytes()
    manifest = json.loads(entries[MANIFEST_FILE])
    for file in manifest["files"]:
        if file["path"] == f"project/{DATABASE}":
            file |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    entries[MANIFEST_FILE] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def unpack(ws: Workspace, path: Path, folder: Path, *, is_own: bool) -> tuple[UnpackedProject, ModelRegistry]:
    registry = ModelRegistry(folder.parent / f"{folder.name} models", ws.registry.bundled_dir)
    return finish(unpack_project(path, folder, registry, is_own=is_own)), registry


def test_a_foreign_archive_names_no_file_outside_and_nothing_of_it_goes_live(
    project: Workspace, tmp_path: Path
) -> None:
    finish(pack_project(project.project.folder, tmp_path / "a.zip", project.registry))
    done, registry = unpack(project, tmp_path / "a.zip", tmp_path / "theirs", is_own=False)
    replayed = read_replay_images(registry.get_folder("lungs-unet@2"))
    assert [(image.image, image.is_available) for image in replayed] == [("left out", False)] * len(ELSEWHERE)
    assert registry.get_live_id("lungs") == "lungs-unet@1"
    assert any("lungs-unet@1 stays live for lungs" in notice for notice in done.notices)
    assert any("1 images are not in the archive" in notice and "--own" in notice for notice in done.notices)
    run = tmp_path / "theirs" / "runs" / "r1"
    items = read_snapshot(run / "snapshot.json").items
    assert (items[0].image, items[0].labels) == ("left out", "left out")
    assert items[1].image == "../../images/a.tif"
    assert json.loads((run / "recipe.json").read_text())["run"]["base"] == "1"
    assert not (run / "start.json").exists()
    opened = Project.open(tmp_path / "theirs")
    assert {case.sources for case in opened.read_records(Case)} == {()}
    assert len({case.file_name for case in opened.read_records(Case)}) == 4
    opened.close()
    assert str(tmp_path / "private").encode() not in (tmp_path / "theirs" / DATABASE).read_bytes()


def test_ones_own_archive_keeps_its_paths(project: Workspace, tmp_path: Path) -> None:
    finish(pack_project(project.project.folder, tmp_path / "a.zip", project.registry))
    done, registry = unpack(project, tmp_path / "a.zip", tmp_path / "mine", is_own=True)
    assert tuple(image.image for image in read_replay_images(registry.get_folder("lungs-unet@2"))) == ELSEWHERE
    assert registry.get_live_id("lungs") == "lungs-unet@2"
    assert any("lungs-unet@2 is live for lungs now" in notice for notice in done.notices)
    opened = Project.open(tmp_path / "mine")
    assert opened.read_records(Case) == project.project.read_records(Case)
    opened.close()


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE predictions SET labels_file = '/etc/hostname' WHERE id = 1",
        "UPDATE predictions SET field_file = '../../field.tif' WHERE id = 1",
        "UPDATE corrections SET image_file = 'C:/private.tif' WHERE id = 1",
        r"UPDATE corrections SET labels_file = '\\host\share\a.tif' WHERE id = 1",
        r"UPDATE corrections SET reviewed_file = 'labels\..\..\a.tif' WHERE id = 1",
        "UPDATE corrections SET labels_file = x'2f65' WHERE id = 1",
        "UPDATE cases SET content_hash = '../../private' WHERE id = 1",
        "UPDATE runs SET folder = '../other'",
        "UPDATE runs SET folder = '.'",
        "UPDATE runs SET folder = 'runs'",
        "UPDATE runs SET folder = 'runs/..'",
        "UPDATE runs SET folder = '/home/x/runs/r1'",
        "UPDATE runs SET id = '../r1'",
    ],
)
def test_rows_that_name_files_outside_are_refused(
    ws: Workspace, tmp_path: Path, statement: str, *, is_own: bool
) -> None:
    accepted(ws, 0)
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FAILED, 1, None, now()))
    repack(ws, tmp_path / "a.zip", lambda connection: connection.execute(statement))
    with pytest.raises(MedSegError, match="names a file outside the project"):
        unpack(ws, tmp_path / "a.zip", tmp_path / "in" / "theirs", is_own=is_own)
    assert not list((tmp_path / "in").glob("*"))


@pytest.mark.parametrize("path", ELSEWHERE[:-1])
def test_a_path_that_leads_out_is_known_on_every_system(path: str) -> None:
    assert leads_out(path)
    assert is_absolute_path(path) == (path != "../../../a.png")


@pytest.mark.parametrize("path", ["labels/correction-1-ab.tif", "images/a..b.tif", ""])
def test_a_path_inside_is_no_other(path: str) -> None:
    assert not leads_out(path)
