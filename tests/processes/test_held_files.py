"""The plugin refuses what Windows would refuse, and nothing else."""

import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from held_files import OPEN_FILES, refuse_held_files
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="only Linux lists what a process holds")

Change = Callable[[Path], object]

CHANGES: dict[str, Change] = {
    "replace": lambda path: os.replace(path.with_name("new"), path),
    "path.replace": lambda path: path.with_name("new").replace(path),
    "rename": lambda path: path.rename(path.with_name("away")),
    "unlink": lambda path: path.unlink(),
    "remove": lambda path: os.remove(path),
    "rmtree": lambda path: shutil.rmtree(path.parent),
    "rename its folder": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "move": lambda path: shutil.move(path, path.with_name("away")),
}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "folder").mkdir()
    for name in ("held", "new"):
        (tmp_path / "folder" / name).write_bytes(b"x" * 5000)
    with refuse_held_files():
        yield tmp_path / "folder" / "held"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_open_file_stays_until_it_is_closed(file: Path, change: Change) -> None:
    with file.open("rb"), pytest.raises(PermissionError, match=r"held is open"):
        change(file)
    assert file.exists()
    (file.parent / "new").touch()
    change(file)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_mapped_file_stays_until_it_is_unmapped(file: Path, change: Change) -> None:
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    with mapped, pytest.raises(PermissionError, match="held is"):  # Python's own mapping keeps it open, too
        change(file)
    assert file.exists()
    (file.parent / "new").touch()
    change(file)


def test_tensors_of_a_mapped_file_are_found(file: Path) -> None:
    save_file({"weight": torch.ones(1000)}, file)
    tensors = load_file(file)
    with pytest.raises(PermissionError, match="held is mapped"):
        os.replace(file.with_name("new"), file)
    del tensors
    os.replace(file.with_name("new"), file)


def test_others_and_links_are_free(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    with file.open("rb"):
        file.with_name("new").unlink()
        link.unlink()
        with pytest.raises(FileNotFoundError):
            file.with_name("missing").unlink()


@pytest.mark.refuse_held_files
def test_a_marked_test_refuses(tmp_path: Path) -> None:
    (tmp_path / "held").touch()
    with (tmp_path / "held").open("rb"), pytest.raises(PermissionError, match="held is open"):
        (tmp_path / "held").unlink()


def test_other_tests_do_not(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--refuse-held-files"):
        pytest.skip("all tests refuse")
    (tmp_path / "held").touch()
    with (tmp_path / "held").open("rb"):
        (tmp_path / "held").unlink()
    assert not (tmp_path / "held").exists()
