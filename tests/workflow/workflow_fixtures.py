"""A workspace on real files: a project, a registry with one version, and real CT slices of the samples."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workflow_phantoms import phantom, write_version

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Run
from napari_medseg.core.replay import read_replay_samples
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow import run_control
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER, read_file_fingerprint
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

SAMPLES = PACKAGE_DIR / "samples"


@pytest.fixture(scope="session")
def checked_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a project keeps once it has looked at the bundled samples: their fingerprints take a second to compute."""
    folder = tmp_path_factory.mktemp("checked")
    card = read_card(write_version(folder / "version") / "card.json")
    for sample in read_replay_samples(SAMPLES, card):
        read_file_fingerprint(folder, SAMPLES / sample.image)
    return folder / CHECKS_FOLDER


@pytest.fixture
def open_workspace(tmp_path: Path, checked_samples: Path) -> Iterator[Callable[..., Workspace]]:
    """Opens the same project and registry again, as a restart does."""
    write_version(tmp_path / "bundled" / "lungs-unet" / "1")
    opened: list[Workspace] = []

    def reopen(name: str = "project") -> Workspace:
        for ws in opened:
            ws.close()
        folder = tmp_path / name
        project = Project.open(folder) if (folder / "project.sqlite").exists() else Project.create(folder)
        shutil.copytree(checked_samples, folder / CHECKS_FOLDER, dirs_exist_ok=True)
        registry = ModelRegistry(tmp_path / "registry", tmp_path / "bundled")
        opened.append(Workspace(project, registry, Engine(), samples=SAMPLES))
        return opened[-1]

    yield reopen
    for ws in opened:
        ws.close()


@pytest.fixture
def ws(open_workspace: Callable[[], Workspace]) -> Workspace:
    return open_workspace()


@pytest.fixture
def dropped(tmp_path: Path) -> Callable[[int], Image]:
    """A picture that lies in a file, as one that a person drops."""

    def write(number: int) -> Image:
        path = tmp_path / "dropped" / f"slice_{number}.tif"
        formats.write_image(path, phantom(number))
        return formats.read(path)

    return write


@pytest.fixture
def train_here(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Run]], Run]:
    """Starts a run, whose own process does nothing, and trains it to its end in this process, which has torch already.

    A process of its own needs ten seconds for its imports. `test_run_control` and `test_retrain` have real ones.
    """

    def train(start: Callable[[], Run]) -> Run:
        from training.__main__ import main

        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", shutil.which("true"))
            run = start()
            ws.child_processes[run.id].wait()
        assert main([str(run_control.get_run_folder(ws, run))]) == 0
        return run

    return train
