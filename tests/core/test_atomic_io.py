"""Files that another program holds for a moment, as virus scanners and OneDrive do on Windows."""

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import napari_medseg
import training
from napari_medseg.core import atomic_io
from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256, read_file, remove_file, replace_file
from napari_medseg.core.errors import MedSegError

Hold = Callable[[int, int], list[int]]


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """Let the next calls that rename or delete fail, a number of times, with an `errno`; counts them."""

    def start(times: int, number: int) -> list[int]:
        calls: list[int] = []
        for name in ("replace", "unlink"):
            monkeypatch.setattr(os, name, refuse_first(getattr(os, name), times, number, calls))
        return calls

    def refuse_first(real: Callable[..., None], times: int, number: int, calls: list[int]) -> Callable[..., None]:
        def call(*arguments: object, **options: object) -> None:
            calls.append(number)
            if len(calls) <= times:
                raise OSError(number, "The process cannot access the file because it is being used", arguments[0])
            real(*arguments, **options)

        return call

    return start


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EBUSY], ids=errno.errorcode.get)
def test_a_file_that_is_held_for_a_moment_is_written(tmp_path: Path, hold: Hold, number: int) -> None:
    path = tmp_path / "live.json"
    path.write_text("old", encoding="utf-8")
    hold(5, number)
    atomic_write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_renamed_and_a_file_removed_likewise(tmp_path: Path, hold: Hold) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.txt").touch()
    calls = hold(3, errno.EACCES)
    replace_file(tmp_path / "new", tmp_path / "1")
    calls.clear()
    remove_file(tmp_path / "1" / "a.txt")
    assert len(calls) == 4
    assert list((tmp_path / "1").iterdir()) == []
    remove_file(tmp_path / "1" / "a.txt")


def test_it_is_tried_for_two_seconds_and_then_the_old_file_is_whole(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert atomic_io.HELD_S == 2.0
    monkeypatch.setattr(atomic_io, "HELD_S", 0.2)
    path = tmp_path / "live.json"
    path.write_text("old", encoding="utf-8")
    calls = hold(10_000, errno.EACCES)
    began = time.monotonic()
    with pytest.raises(MedSegError, match=r"cannot write .*live\.json: .* is being used"):
        atomic_write_text(path, "new")
    assert 0.05 < time.monotonic() - began < 5.0
    assert len(calls) > 3
    assert path.read_text(encoding="utf-8") == "old"


def test_what_does_not_pass_by_itself_is_not_tried_again(tmp_path: Path, hold: Hold) -> None:
    (tmp_path / "a").touch()
    calls = hold(10_000, errno.ENOSPC)
    with pytest.raises(OSError, match="being used"):
        replace_file(tmp_path / "a", tmp_path / "b")
    assert len(calls) == 1


def test_files_are_renamed_in_one_place() -> None:
    for package in (napari_medseg, training):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            found = re.findall(r"os\.(?:replace|rename)\(|\.rename\(|shutil\.move\(", path.read_text(encoding="utf-8"))
            assert not found or path.name == "atomic_io.py", f"{path}: use atomic_io.replace_file"


def test_a_file_is_read_whole_unless_it_is_far_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert read_file(tmp_path / "a.json", max_bytes=2) == b"{}"
    for read in (read_file, compute_file_sha256):
        with pytest.raises(OSError, match=r"a\.json has 2 bytes; at most 1 are expected"):
            read(tmp_path / "a.json", max_bytes=1)
        with pytest.raises(IsADirectoryError):
            read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for read in (read_file, compute_file_sha256):
        with pytest.raises(OSError, match="is a pipe or a device"):
            read(tmp_path / "a.json")
