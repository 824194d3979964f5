"""What a project uses on disk, and that only what can be made again is ever cleared."""

import os
import time
from pathlib import Path

import pytest

from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER
from napari_medseg.workflow.storage.disk_use import (
    LEFTOVER_AGE_S,
    clear_files,
    list_clearable_files,
    measure_disk_use,
)
from napari_medseg.workflow.storage.file_kinds import FileKind, find_file_kind

KEPT = (
    "project.sqlite",
    "project.before-version-8.sqlite",
    "images/ab.tif",
    "labels/correction-1-0123456789abcdef.tif",
    "labels/certain-1-0123456789abcdef.tif",
    "journal/1.journal",
    "journal/1.torn",
    "exports/a.nii.gz",
    "tasks/own.json",
    "runs/ended/snapshot.json",
    "runs/ended/model.safetensors",
    "runs/paused/checkpoint.safetensors",
    "runs/paused/start/model.safetensors",
    "runs/paused/.writing-0123abcd-best.safetensors",
    "notes.txt",
    f"{CHECKS_FOLDER}/shared_content.npz",
)
CLEARED = (
    "cache/1-ab.probabilities.zip",
    "checks-2/image-ab.npz",
    "checks/old.json",
    "runs/ended/checkpoint.safetensors",
    "runs/ended/best.safetensors",
    "runs/ended/cycle-00-001.safetensors",
    "runs/ended/start/model.safetensors",
    "runs/ended/tensorboard/events.1",
    "labels/.writing-0123abcd-a.tif",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*KEPT, *CLEARED):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)
        os.utime(path, (time.time() - LEFTOVER_AGE_S - 60,) * 2)
    return tmp_path / "project"


def list_names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_can_be_made_again_is_cleared(folder: Path) -> None:
    fresh = folder / "labels" / ".writing-9999abcd-b.tif"
    fresh.write_bytes(b"being written")
    files = list_clearable_files(folder, {"ended"})
    assert {file.path for file in files} == set(CLEARED)
    done = clear_files(folder, files)
    assert (done.n_files, done.n_bytes, done.problems) == (len(CLEARED), 10 * len(CLEARED), ())
    assert list_names(folder) == {*KEPT, "labels/.writing-9999abcd-b.tif"}
    assert not (folder / "checks-2").exists()
    assert not (folder / "runs" / "ended" / "start").exists()
    assert clear_files(folder, list_clearable_files(folder, {"ended"})).text == "There was nothing to clear."


def test_links_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious.zip").write_bytes(b"x" * 1000)
    for path in (folder / "cache").iterdir():
        path.unlink()
    (folder / "cache").rmdir()
    (folder / "cache").symlink_to(tmp_path / "outside")
    clear_files(folder, list_clearable_files(folder, {"ended"}))
    assert (tmp_path / "outside" / "precious.zip").exists()
    assert measure_disk_use(folder).total_bytes < 1000


def test_disk_use_is_counted_by_kind(folder: Path) -> None:
    use = measure_disk_use(folder)
    assert use.n_bytes[FileKind.LABELS] == 20
    assert use.n_files[FileKind.CHECKPOINTS] == 7
    assert use.total_bytes == 10 * len((*KEPT, *CLEARED))
    assert use.free_bytes > 0


def test_each_file_has_a_kind() -> None:
    found = {
        name: find_file_kind(name) for name in ("lock", "runs/r1/trainer.lock", "exports/lock", "project.sqlite-wal")
    }
    assert list(found.values()) == [FileKind.LOCKS, FileKind.LOCKS, FileKind.EXPORTS, FileKind.DATABASE]
