"""A workspace on real files: a project, a registry with one version, and real CT slices of the samples."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core import formats
from napari_medseg.core.cards import Architecture, ModelCard, Preprocessing, write_card
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.registry import Registry
from napari_medseg.core.store import Project
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.engine import Engine, PredictResult
from napari_medseg.workflow.review import remember_prediction
from napari_medseg.workflow.workspace import BUNDLED, Workspace

SHAPE = (48, 64)


def write_version(folder: Path, version: int = 1, weights: bytes = b"weights", parent: str | None = None) -> Path:
    """A version whose weights are never loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    card = ModelCard(
        name="lungs-unet",
        version=version,
        task="lungs",
        architecture=Architecture(name="Unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    card = card.model_copy(update={"lineage": card.lineage.model_copy(update={"parent": parent})})
    write_card(card, folder / "card.json")
    return folder


def phantom_labels() -> np.ndarray:
    """Right lung on the picture's left, left lung on its right."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:38, 6:26] = 1
    labels[10:38, 38:58] = 2
    return labels


def phantom(number: int, group: str = "") -> Image:
    """A grey picture with two dark lungs; each number another content."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(150, 200, SHAPE)
    pixels[phantom_labels() > 0] = rng.integers(10, 60, int((phantom_labels() > 0).sum()))
    return Image(
        pixels=pixels.astype(np.uint8),
        axes="YX",
        spacing_mm=(0.7, 0.7),
        name=f"slice {number}",
        group=group or f"patient {number}",
    )


@pytest.fixture
def open_workspace(tmp_path: Path) -> Iterator[Callable[[], Workspace]]:
    """Opens the same project and registry again, as a restart does."""
    write_version(tmp_path / "bundled" / "lungs-unet" / "1")
    opened: list[Workspace] = []

    def reopen() -> Workspace:
        for ws in opened:
            ws.close()
        folder = tmp_path / "project"
        project = Project.open(folder) if (folder / "project.sqlite").exists() else Project.create(folder)
        registry = Registry(tmp_path / "registry", tmp_path / "bundled")
        opened.append(Workspace(project, registry, Engine(), samples=BUNDLED / "samples"))
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


def predicted(ws: Workspace, image: Image, uncertainty: float = 0.1) -> tuple[Case, Prediction]:
    """Add a case and remember the phantom's labels as its prediction."""
    case = add_cases(ws, [image], "lungs")[0]
    result = PredictResult(phantom_labels(), uncertainty, None, 1.5, "CPU")
    return case, remember_prediction(ws, case, result, ws.registry.live("lungs").id)
