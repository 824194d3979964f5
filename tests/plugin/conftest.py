"""A workspace on real files with an engine that stands in, and the dock's headless parts on napari's viewer model."""

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import pytest
from napari.components import ViewerModel
from plugin_phantoms import PhantomEngine, Texts, write_version
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow.workspace import Workspace

PATIENCE_MS = 60_000


class PatientQtBot(QtBot):
    """Waits longer than pytest-qt does by itself: a busy machine is no failure; what comes at once costs nothing."""

    waitUntil = partialmethod(QtBot.waitUntil, timeout=PATIENCE_MS)
    waitSignal = partialmethod(QtBot.waitSignal, timeout=PATIENCE_MS)
    waitSignals = partialmethod(QtBot.waitSignals, timeout=PATIENCE_MS)


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> PatientQtBot:
    return PatientQtBot(request)


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
        registry = ModelRegistry(tmp_path / "registry", tmp_path / "bundled")
        opened.append(Workspace(project, registry, PhantomEngine(), samples=tmp_path))
        return opened[-1]

    yield reopen
    for ws in opened:
        ws.close()


@pytest.fixture
def ws(open_workspace: Callable[[], Workspace]) -> Workspace:
    return open_workspace()


@pytest.fixture
def told() -> Texts:
    return Texts()


@pytest.fixture
def window(ws: Workspace, qtbot: QtBot) -> Iterator[SimpleNamespace]:
    """The dock's parts without its widgets: viewer model, controllers and prediction queue, tied together."""
    viewer = ViewerModel()
    case_controller = CaseController(viewer, ws)
    prediction_queue = PredictionQueue(ws)
    worklist = Worklist(viewer, ws, case_controller, prediction_queue)
    yield SimpleNamespace(
        viewer=viewer, ws=ws, case_controller=case_controller, prediction_queue=prediction_queue, worklist=worklist
    )
    prediction_queue.close()
    worklist.close()
    case_controller.close()


@pytest.fixture
def make_dock(qtbot: QtBot) -> Iterator[Callable[[Workspace], Dock]]:
    docks: list[Dock] = []

    def make(ws: Workspace) -> Dock:
        dock = Dock(ViewerModel(), ws)
        qtbot.addWidget(dock)
        dock.show()
        docks.append(dock)
        return dock

    yield make
    for dock in docks:
        dock.close_down()
