"""What was made of files is kept until one of them changes, whoever changes it and however it is done."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_medseg.core.project import file_state
from napari_medseg.core.project.file_state import KeptContent

OLD_S = 1_000_000_000


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that a test need not wait."""
    monkeypatch.setattr(file_state, "SETTLING_NS", -(10**9))


class Reader:
    """Reads a file and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self._kept = path, 0, KeptContent[str]()

    def __call__(self) -> str:
        return self._kept.read([self.path], self._read)

    def _read(self) -> str:
        self.count += 1
        return self.path.read_text() if self.path.exists() else ""


@pytest.fixture
def reader(tmp_path: Path, settled: None) -> Reader:
    path = tmp_path / "live.json"
    path.write_text("old")
    os.utime(path, (OLD_S, OLD_S))
    return Reader(path)


def test_a_file_that_does_not_change_is_read_once(reader: Reader) -> None:
    assert [reader() for _ in range(5)] == ["old"] * 5
    assert reader.count == 1


def rewrite(path: Path) -> None:
    path.write_text("new")
    os.utime(path, (OLD_S, OLD_S))


def replace(path: Path) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text("new")
    os.utime(beside, (OLD_S, OLD_S))
    beside.replace(path)


def rewrite_elsewhere(path: Path) -> None:
    subprocess.run([sys.executable, "-c", f"open({str(path)!r}, 'w').write('new')"], check=True)


@pytest.mark.parametrize("change", [rewrite, replace, rewrite_elsewhere])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time of the last change that cannot be set")
def test_a_change_is_seen_also_with_the_size_and_time_of_before(
    reader: Reader, change: Callable[[Path], object]
) -> None:
    reader()
    change(reader.path)
    assert reader() == "new"


def test_a_file_that_comes_or_goes_is_seen(reader: Reader) -> None:
    reader()
    reader.path.unlink()
    assert [reader(), reader()] == ["", ""]
    assert reader.count == 2
    reader.path.write_text("back")
    assert reader() == "back"


def test_a_file_that_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "live.json")
    reader.path.write_text("old")  # another change in the same tick of the clock would leave time and size as they are
    reader()
    reader()
    assert reader.count == 2


def test_an_error_is_not_kept(reader: Reader) -> None:
    kept = KeptContent[str]()

    def fail() -> str:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        kept.read([reader.path], fail)
    assert kept.read([reader.path], lambda: "read") == "read"
