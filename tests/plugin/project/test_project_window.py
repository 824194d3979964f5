"""The window about the project: files are counted, cleared and reported on in a thread."""

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QDesktopServices

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.inference.engine.client import Engine
from napari_medseg.plugin.project.project_window import ProjectWindow
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> ProjectWindow:
    project = Project.create(tmp_path / "project")
    (tmp_path / "project" / "cache").mkdir()
    (tmp_path / "project" / "cache" / "1-ab.probabilities.zip").write_bytes(b"x" * 5000)
    (tmp_path / "project" / "exports" / "a.csv").write_bytes(b"mine")
    workspace = Workspace(project, ModelRegistry(tmp_path / "registry", tmp_path / "bundled"), Engine())
    shown = ProjectWindow(workspace)
    qtbot.addWidget(shown, before_close_func=lambda _: workspace.close())
    qtbot.waitUntil(lambda: shown.report_button.isEnabled())
    return shown


def list_kinds(window: ProjectWindow) -> set[str]:
    return {window.table.item(row, 0).text() for row in range(window.table.rowCount())}


def test_caches_are_shown_and_cleared(window: ProjectWindow, qtbot: QtBot, tmp_path: Path) -> None:
    assert {"probabilities", "database", "exports"} <= list_kinds(window)
    assert "5 KB can be cleared" in window.total.text()
    window.clear_button.click()
    qtbot.waitUntil(lambda: window.report_button.isEnabled())
    assert "probabilities" not in list_kinds(window)
    assert not window.clear_button.isEnabled()
    assert (tmp_path / "project" / "exports" / "a.csv").exists()


def test_the_report_is_written_and_opened(
    window: ProjectWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    window.write_report(tmp_path / "out")
    qtbot.waitUntil(lambda: window.report_button.isEnabled())
    assert opened == [str(tmp_path / "out" / "report.html")]
    assert "has no cases yet" in Path(opened[0]).read_text(encoding="utf-8")
    window.write_report(tmp_path / "project" / "exports" / "a.csv" / "no")
    qtbot.waitUntil(lambda: window.report_button.isEnabled())
    assert len(opened) == 1
    window.close_down()
