"""Short by default; `make endurance` runs the same for hours (`--long`)."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture
def is_complete(request: pytest.FixtureRequest) -> bool:
    """Whether everything is done, not only what fits into the time."""
    return not (request.config.getoption("--long") and request.config.getoption("--minutes"))


@pytest.fixture
def run_script(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Run a script of this folder in a process of its own; with `--long`, continue what an earlier call began."""

    def run(name: str, *words: object) -> str:
        is_long = request.config.getoption("--long")
        out = Path(request.config.getoption("--long-out")) if is_long else tmp_path
        command = [sys.executable, str(FOLDER / name), *map(str, words), "--out", str(out)]
        command += ["--seed", str(request.config.getoption("--endurance-seed"))]
        if is_long and (minutes := request.config.getoption("--minutes")):
            command += ["--minutes", str(minutes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small real disk; `mount(size_kib)` returns its folder, `mount(folder=..., options=...)` changes it."""
    made: list[Path] = []

    def mount_disk(size_kib: int = 0, folder: Path | None = None, options: str = "") -> Path:
        place = folder or tmp_path / f"disk{len(made)}"
        place.mkdir(exist_ok=True)
        words = ["-o", options] if folder else ["-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs"]
        is_root = os.name == "posix" and os.geteuid() == 0
        if not is_root or subprocess.run(["mount", *words, str(place)], capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        if folder is None:
            made.append(place)
        return place

    yield mount_disk
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=True)
