"""The lock of a project folder: one holder at a time, named to the others, and gone with its process."""

import errno
import getpass
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.lock import HOLDER_FILE, LOCK_FILE, FolderLock

NOBODY = 65534
HOLD = (
    "import sys, time; from pathlib import Path; from napari_medseg.core.project.lock import FolderLock\n"
    "lock = FolderLock(Path(sys.argv[1])); sys.stdout.write('held\\n'); sys.stdout.flush(); time.sleep(60)"
)


@contextmanager
def another_process_holds(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            yield other
        finally:
            other.kill()


def test_the_refusal_names_user_machine_and_process_of_the_holder(tmp_path: Path) -> None:
    with another_process_holds(tmp_path) as other, pytest.raises(MedSegError) as refused:
        FolderLock(tmp_path)
    assert f"({getpass.getuser()} on {platform.node()}, process {other.pid})" in str(refused.value)
    assert "open in another window" in str(refused.value)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with another_process_holds(tmp_path) as other:
        other.kill()
        other.wait()
        assert (tmp_path / HOLDER_FILE).exists(), "the killed process could not clean up"
        lock = FolderLock(tmp_path)
    with pytest.raises(MedSegError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.release()


def test_a_lock_released_twice_does_not_disturb_the_next_holder(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    first.release()
    assert not (tmp_path / HOLDER_FILE).exists()
    second = FolderLock(tmp_path)
    first.release()
    with pytest.raises(MedSegError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    second.release()


def test_the_lock_file_of_an_older_version_does_not_disturb(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("process 1")
    lock = FolderLock(tmp_path)
    assert (tmp_path / HOLDER_FILE).exists()
    lock.release()


def test_an_older_version_that_holds_the_folder_is_respected(tmp_path: Path) -> None:
    """Versions before filelock lock the same file by the same call."""
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / LOCK_FILE).open("a+") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(MedSegError, match="unknown process"):
            FolderLock(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ignores the permissions of folders")
def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)  # root may write everywhere
    try:
        with pytest.raises(MedSegError, match=r"cannot write in the project folder .*: Permission denied\. Choose"):
            FolderLock(tmp_path)
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    FolderLock(tmp_path).release()
    assert "do not open the project twice" in caplog.text


def test_the_lock_needs_neither_torch_nor_a_reader_of_images() -> None:
    program = "import napari_medseg.core.project.lock, sys; sys.stdout.write(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pydicom", "nibabel", "tifffile", "numpy"} & set(loaded)
