"""How many files somebody has to open to follow a dropped CT to its labels."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from path_tracer import trace_path, write_traced_python
from plugin_phantoms import drop_on
from pytestqt.qtbot import QtBot

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.inference.engine.client import Engine
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

MAX_FILES = 58
"""30 before values of DICOM (unit, padding), groups, and the prediction of other cases got files of their own; 35 until
drafts were prepared in a thread, and slabs and labels kept the memory of reading low; 38 before networks were built
without memory first; 39 before drafts had a room, masks were found in a drop, windows had presets, probabilities were
kept with a prediction, parts that lie apart were dropped, an image was compared with the training images, and a missing
lung was called suspicious; 52 before drops were sorted by task, and the images of the next cases were read ahead;
55 before OpenVINO computed, batch and tile were measured, and the list of cases had pictures."""
CT_SLICE = SAMPLES / "ct_a0001" / "dicom" / "A0001_z031.dcm"


@pytest.fixture
def engine_path(tmp_path: Path) -> Path:
    """Where the engine writes which of its files are on the path."""
    return tmp_path / "engine_path.txt"


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """A file that is made when the CT is dropped."""
    return tmp_path / "dropped"


@pytest.fixture
def dock(tmp_path: Path, dropped: Path, engine_path: Path, qtbot: QtBot) -> Iterator[Dock]:
    """The dock on a new project with the bundled models, and a traced engine process that is ready."""
    engine = Engine(str(write_traced_python(tmp_path, dropped, engine_path)))
    registry = ModelRegistry(tmp_path / "registry", PACKAGE_DIR / "models")
    workspace = Workspace(Project.create(tmp_path / "project"), registry, engine)
    dock = Dock(ViewerModel(), workspace)
    qtbot.addWidget(dock)
    dock.show()
    qtbot.waitUntil(lambda: engine.state == "ready")
    yield dock
    dock.close_down()
    workspace.close()


@pytest.mark.skipif(sys.platform == "win32", reason="the traced engine is started by a shell script")
def test_a_dropped_ct_passes_few_files_on_the_way_to_its_labels(
    dock: Dock, dropped: Path, engine_path: Path, qtbot: QtBot
) -> None:
    path: set[str] = set()
    shown: list[set[str]] = []
    dock._viewer.layers.events.inserted.connect(
        lambda event: shown.append(set(path)) if isinstance(event.value, Labels) else None
    )
    with trace_path(path.add):
        dropped.touch()
        assert drop_on(dock, CT_SLICE)
        qtbot.waitUntil(lambda: bool(shown))
    path = shown[0] | set(engine_path.read_text(encoding="utf-8").split())
    ends = {"core/dicom/image_reader.py", "plugin/layers.py", "inference/preprocess.py", "inference/postprocess.py"}
    assert {f"napari_medseg/{file}" for file in ends} <= path
    assert len(path) <= MAX_FILES, "\n".join(sorted(path))
