"""Packing a project, unpacking it elsewhere, and going on there; archives that somebody made to do harm."""

import json
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest
from workflow_phantoms import CLEAR_NAMES, accepted, phantom, predicted, work_with_names, write_version

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.records import Case, CaseNote, Correction, Review, Run, RunState, now
from napari_medseg.core.replay import ReplayImage, read_replay_images, write_replay_images
from napari_medseg.core.snapshot import write_snapshot
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.storage import unpack as unpacking
from napari_medseg.workflow.storage.check import check_archive, check_project
from napari_medseg.workflow.storage.manifest import MANIFEST_FILE
from napari_medseg.workflow.storage.pack import PackedProject, pack_project
from napari_medseg.workflow.storage.unpack import UnpackedProject, unpack_project
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace

Result = TypeVar("Result")


def finish(work: Generator[object, None, Result]) -> Result:
    """Run a generator to its result."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]


def pack(ws: Workspace, target: Path, **options: bool) -> PackedProject:
    return finish(pack_project(ws.project.folder, target, ws.registry, **options))


def unpack(path: Path, folder: Path, registry: ModelRegistry, **options: bool) -> UnpackedProject:
    return finish(unpack_project(path, folder, registry, **options))


@pytest.fixture
def worked(ws: Workspace, tmp_path: Path) -> Workspace:
    """Three accepted cases, an open draft, a run whose version is live, and a cache."""
    for number, group in enumerate(("Anna Berg", "Otto Roth", "Ida Falk")):
        accepted(ws, number, group)
        set_held_out(ws, group, held_out=number == 2)
    case, prediction = predicted(ws, phantom(9, "Otto Roth"))
    draft = open_review(ws, case, prediction)
    draft.record([5], 0, 2)
    draft.close()
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir(parents=True)
    write_snapshot(build_snapshot(ws, "lungs")[0], folder / "snapshot.json")
    (folder / "checkpoint.safetensors").write_bytes(b"state")
    version = write_version(tmp_path / "made", 2, b"better", parent="lungs-unet@1")
    image = ws.project.folder / ws.project.read_records(Correction)[0].image_file
    inside = ReplayImage(
        name="a", image=str(image.resolve()), labels=str(image.resolve()), group="patient 1 #" + "a" * 16
    )
    write_replay_images(version, [inside, inside.model_copy(update={"image": "/elsewhere/b.tif"})])
    ws.registry.promote(ws.registry.add(version).id, "typed")
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.PROMOTED, 3, "lungs-unet@2", now()))
    (ws.project.folder / "cache").mkdir(exist_ok=True)
    (ws.project.folder / "cache" / "1-ab.probabilities.zip").write_bytes(b"cached")
    return ws


@pytest.fixture(scope="module")
def packed() -> list[bytes]:
    """The bytes of the archive of `worked`, once a test needed them."""
    return []


@pytest.fixture
def archive(packed: list[bytes], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An archive of `worked`, which is made once for all tests that damage it."""
    path = tmp_path / "a.zip"
    if packed:
        path.write_bytes(packed[0])
    else:
        pack(request.getfixturevalue("worked"), path)
        packed.append(path.read_bytes())
    return path


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry", tmp_path / "bundled")


def test_work_goes_on_in_an_unpacked_project(worked: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "out" / "lungs.medseg.zip"
    packed = pack(worked, target)  # while it is open
    assert not [file.path for file in packed.manifest.files if "cache/" in file.path or file.path.endswith("lock")]
    assert any("1 of 4 cases were not accepted yet" in notice for notice in packed.notices)
    assert not finish(check_archive(target)).faults

    other = ModelRegistry(tmp_path / "other", tmp_path / "bundled")
    done = unpack(target, tmp_path / "elsewhere", other, is_own=True)
    assert done.added_models == ("lungs-unet@2",)
    assert any("lungs-unet@2 is live for lungs now" in notice for notice in done.notices)
    assert other.get_live_id("lungs") == "lungs-unet@2"
    assert other.read_history("lungs")[-1].reason == "typed"
    replayed = read_replay_images(other.get_folder("lungs-unet@2"))
    assert replayed[0].is_available
    assert Path(replayed[0].image).is_relative_to(tmp_path / "elsewhere")
    assert replayed[1].image == "/elsewhere/b.tif"
    assert not finish(check_project(tmp_path / "elsewhere", other)).faults

    before, clear = worked.project.read_records(Case), worked.project.identities.read_groups()
    journal = tmp_path / "elsewhere" / "journal" / "4.journal"
    assert journal.stat().st_mtime == pytest.approx((worked.project.folder / "journal" / "4.journal").stat().st_mtime)
    moved = Workspace(Project.open(tmp_path / "elsewhere"), other, Engine(), samples=worked.samples)
    try:
        assert moved.project.read_records(Case) == before
        assert moved.project.identities.read_groups() == clear
        image = phantom(9, "Otto Roth")
        case = next(case for case in before if case.content_hash == image.content_hash)
        draft = open_review(moved, case, None)
        assert draft.labels.ravel()[5] == 2, "the draft goes on"
        accept(moved, draft, draft.labels, image)
        snapshot, seen = build_snapshot(moved, "lungs")
        assert len(seen) == 4
        assert all(Path(item.image).exists() for item in snapshot.items)
    finally:
        moved.close()


def test_an_archive_without_identities_names_nobody_and_still_opens(worked: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "shared.medseg.zip"
    work_with_names(worked, tmp_path)
    (worked.project.folder / "exports" / "Anna Berg.csv").write_text("Anna Berg")
    key = worked.project._connection.execute("SELECT value FROM identities WHERE kind = 'key'").fetchone()[0]
    pack(worked, target, with_identities=False)
    with zipfile.ZipFile(target) as archive:
        content = b"".join(archive.read(name) + name.encode() for name in archive.namelist())
    names = [*CLEAR_NAMES, "Blank", "Anna Berg", "Otto Roth", "slice 1", str(tmp_path), key]
    assert not [name for name in names if name.encode() in content]
    done = unpack(target, tmp_path / "elsewhere", ModelRegistry(tmp_path / "other", tmp_path / "bundled"))
    assert any("become another patient" in notice for notice in done.notices)
    moved = Project.open(tmp_path / "elsewhere")
    try:
        assert [case.name for case in moved.read_records(Case)] == [c.name for c in worked.project.read_records(Case)]
        assert {review.who for review in moved.read_records(Review)} == {"reader 1", "reader 2"}
        assert moved.identities.read_readers() == {"reader 1": "reader 1", "reader 2": "reader 2"}
        notes = {note.case_id: note for note in moved.read_records(CaseNote)}.values()
        assert [(note.is_flagged, note.note, note.reason) for note in notes if note.is_flagged] == [(True, "", "")]
        assert moved.identities.key_group("Anna Berg").startswith("patient ")
        with pytest.raises(sqlite3.IntegrityError, match="immutable"), moved.transaction():
            moved._connection.execute("UPDATE corrections SET who = 'x'")
    finally:
        moved.close()
    assert worked.project.read_records(Case)[0].file_name == "slice 0", "the project itself is unchanged"


def test_a_project_is_never_packed_into_itself_or_over_a_file(worked: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="inside the project"):
        pack(worked, worked.project.folder / "exports" / "a.zip")
    there = tmp_path / "a.zip"
    there.write_bytes(b"mine")
    with pytest.raises(MedSegError, match="exists"):
        pack(worked, there)
    assert there.read_bytes() == b"mine"
    pack(worked, there, replace=True)
    assert zipfile.is_zipfile(there)


def test_an_interrupted_pack_leaves_nothing(worked: Workspace, tmp_path: Path) -> None:
    packing = pack_project(worked.project.folder, tmp_path / "out" / "a.zip", worked.registry)
    next(packing)
    next(packing)
    assert list((tmp_path / "out").iterdir()), "it is being written under another name"
    packing.close()
    assert not list((tmp_path / "out").iterdir())


def test_nothing_is_unpacked_over_something(worked: Workspace, tmp_path: Path) -> None:
    pack(worked, tmp_path / "a.zip")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("used", "link", "a.zip"):
        with pytest.raises(MedSegError, match="Choose a new folder"):
            unpack(tmp_path / "a.zip", tmp_path / name, worked.registry)
    (tmp_path / "empty").mkdir()
    assert unpack(tmp_path / "a.zip", tmp_path / "empty", worked.registry).added_models == ()


def test_another_model_of_the_same_name_is_not_mixed_up(worked: Workspace, tmp_path: Path) -> None:
    pack(worked, tmp_path / "a.zip")
    other = ModelRegistry(tmp_path / "other", tmp_path / "bundled")
    other.add(write_version(tmp_path / "foreign", 1, b"foreign"))
    with pytest.raises(MedSegError, match=r"lungs-unet@2, and another model of that name.*--registry"):
        unpack(tmp_path / "a.zip", tmp_path / "elsewhere", other)
    assert not (tmp_path / "elsewhere").exists()


def test_what_somebody_promoted_stays_live(worked: Workspace, tmp_path: Path) -> None:
    pack(worked, tmp_path / "a.zip")
    other = ModelRegistry(tmp_path / "other", tmp_path / "bundled")
    own = write_version(tmp_path / "own", 1, b"own")
    card = json.loads((own / "card.json").read_text()) | {"name": "own-unet"}
    (own / "card.json").write_text(json.dumps(card))
    other.promote(other.add(own).id)
    done = unpack(tmp_path / "a.zip", tmp_path / "elsewhere", other, is_own=True)
    assert other.get_live_id("lungs") == "own-unet@1"
    assert "own-unet@1 stays live for lungs" in done.notices[0]


Change = Callable[[dict[str, bytes]], None]


def rewrite(path: Path, change: Change) -> None:
    """Write an archive again with other entries; the manifest fits what is there unless `change` touches it."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def add_listed(path: str) -> Change:
    """Add a file whose path somebody chose to do harm, and list it."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries[MANIFEST_FILE])
        digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of "foo"
        manifest["files"].append({"path": path, "size": 3, "sha256": digest})
        entries[path] = b"foo"
        entries[MANIFEST_FILE] = json.dumps(manifest).encode()

    return change


@pytest.mark.parametrize(
    "path",
    [
        "../evil.txt",
        "project/../../evil.txt",
        "/tmp/evil.txt",
        "project//evil.txt",
        "project/./evil.txt",
        "C:/evil.txt",
        "project/a\\..\\..\\evil.txt",
        "project/evil.txt:stream",
        "project/evil. ",
        "elsewhere/evil.txt",
        "project/PROJECT.sqlite",
        f"project/{DATABASE}/evil.txt",
        "project/" + "a" * 2000,
    ],
)
def test_a_path_that_leads_out_is_refused(archive: Path, registry: ModelRegistry, tmp_path: Path, path: str) -> None:
    rewrite(archive, add_listed(path))
    with pytest.raises(MedSegError, match="not an archive of a project, or is damaged"):
        unpack(archive, tmp_path / "in" / "elsewhere", registry)
    assert not list(tmp_path.rglob("evil*"))
    assert not list((tmp_path / "in").glob("*"))


def test_links_and_bombs_are_refused_before_anything_is_written(
    worked: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, folder = tmp_path / "a.zip", tmp_path / "in" / "elsewhere"
    pack(worked, archive)
    with zipfile.ZipFile(archive) as whole:
        entries = {entry.filename: (entry, whole.read(entry)) for entry in whole.infolist()}
    link = f"project/{DATABASE}"
    with zipfile.ZipFile(archive, "w") as changed:
        for name, (entry, data) in entries.items():
            if name == link:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            changed.writestr(entry, data)
    with pytest.raises(MedSegError, match="it is a link or a folder"):
        unpack(archive, folder, worked.registry)

    pack(worked, archive, replace=True)
    monkeypatch.setattr(unpacking, "RESERVE_BYTES", 2**62)
    with pytest.raises(MedSegError, match=r"the project takes .* but only .* are free"):
        unpack(archive, folder, worked.registry)
    assert not list((tmp_path / "in").glob("*"))


def test_each_change_of_an_archive_is_found(worked: Workspace, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"

    def alter(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if "/labels/correction" in name)
        entries[name] = entries[name][:-1] + b"x"

    def drop(entries: dict[str, bytes]) -> None:
        del entries[next(name for name in entries if "/images/" in name)]

    def add(entries: dict[str, bytes]) -> None:
        entries["project/more.txt"] = b"more"

    for change, problem in (
        (alter, "is not as it was packed"),
        (drop, "is missing"),
        (add, "not in the archive's own"),
    ):
        pack(worked, archive, replace=True)
        rewrite(archive, change)
        (fault,) = finish(check_archive(archive)).faults
        assert problem in fault.problem
        with pytest.raises(MedSegError, match="packed"):
            unpack(archive, tmp_path / "in" / "elsewhere", worked.registry)
        assert not list((tmp_path / "in").glob("*"))


@pytest.mark.parametrize("kept", [0, 10, 2000, -30])
def test_a_cut_archive_is_refused(archive: Path, registry: ModelRegistry, tmp_path: Path, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    for work in (check_archive(archive), unpack_project(archive, tmp_path / "elsewhere", registry)):
        with pytest.raises(MedSegError, match="not an archive of a project"):
            finish(work)


def test_what_is_missing_or_changed_in_a_project_is_named(worked: Workspace, tmp_path: Path) -> None:
    folder = worked.project.folder
    corrections = worked.project.read_records(Correction)
    (folder / corrections[0].labels_file).unlink()
    formats.write_image(folder / corrections[1].image_file, phantom(77))
    (folder / "journal" / "4.journal").write_bytes(b"no journal at all" * 9)
    (folder / "labels" / "prediction-9-0123456789abcdef.tif").write_bytes(b"left by a crash")
    (worked.registry.get_folder("lungs-unet@2") / "model.safetensors").write_bytes(b"changed")
    found = finish(check_project(folder, worked.registry))
    assert {fault.path for fault in found.faults} == {
        corrections[0].labels_file,
        corrections[1].image_file,
        "journal/4.journal",
        "lungs-unet@2",
    }
    assert found.unused == ("labels/prediction-9-0123456789abcdef.tif",)
    packed = pack(worked, tmp_path / "a.zip")  # a damaged project can be moved, too
    assert [fault.path for fault in finish(check_archive(tmp_path / "a.zip")).faults] == [
        f"project/{corrections[0].labels_file}"
    ]
    assert packed.n_bytes


def test_an_old_project_is_packed_as_this_program_would_open_it(old_project: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "registry", tmp_path / "bundled")
    before = (old_project / DATABASE).read_bytes()
    finish(pack_project(old_project, tmp_path / "a.zip", registry))
    assert (old_project / DATABASE).read_bytes() == before
    with pytest.raises(MedSegError, match="remove-old-names"):
        finish(pack_project(old_project, tmp_path / "b.zip", registry, with_identities=False))
    unpack(tmp_path / "a.zip", tmp_path / "elsewhere", registry)
    moved = Project.open(tmp_path / "elsewhere")
    assert len(moved.read_records(Case)) > 5
    moved.close()


@pytest.fixture
def old_project(tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).parents[2] / "data" / "project_before_rooms.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / "project"
