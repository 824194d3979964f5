"""The whole loop as a person goes through it: real window, real drops and strokes, real engine, real training run.

Real CT and X-rays of the samples, and the model that ships.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_phantoms import drop_on
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_medseg.core import formats
from napari_medseg.core.quality.metrics import compute_dice
from napari_medseg.core.records import Correction, RunState
from napari_medseg.plugin.forms.export_form import ExportChoice
from napari_medseg.plugin.main_widget import CloseChoice, MedSegWidget
from napari_medseg.plugin.sample_data import SAMPLES
from napari_medseg.workflow.workspace import Workspace

pytestmark = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen" or (sys.platform == "linux" and not os.environ.get("DISPLAY")),
    reason="needs a display with OpenGL: xvfb-run",
)
CT = SAMPLES / "ct_a0001"
XRAY = SAMPLES / "xray"
SLICE = "A0001_z031"
N_XRAYS = 2
BUDGET_S = 5.0
ENGINE_MS = 60_000
RUN_MS = 120_000


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    return viewer


@pytest.fixture
def open_dock(viewer: Any, tmp_path: Path, qtbot: QtBot) -> Iterator[Callable[[], MedSegWidget]]:
    """Docks MedSeg on the same project, as a restart does."""
    docked: list[MedSegWidget] = []

    def dock() -> MedSegWidget:
        workspace = Workspace.open(tmp_path / "project", tmp_path / "registry")
        docked.append(MedSegWidget(viewer, workspace, ask=lambda _: CloseChoice.LEAVE_RUNNING))
        viewer.window.add_dock_widget(docked[-1], name="MedSeg")
        qtbot.waitUntil(docked[-1].isVisible)
        return docked[-1]

    yield dock
    for widget in docked:
        widget.close_down()


@pytest.mark.usefixtures("warm_trainings")
def test_from_a_dropped_slice_to_a_better_model_and_back(
    viewer: Any, open_dock: Callable[[], MedSegWidget], qtbot: QtBot, tmp_path: Path
) -> None:
    widget = open_dock()
    _drop_and_see_lungs(viewer, widget, qtbot)
    corrected = _paint_and_accept(viewer, widget, qtbot)
    _correct_xrays(viewer, widget, qtbot)
    _export_and_read_back(widget, qtbot, tmp_path / "out", corrected)
    _retrain(widget, qtbot)
    _promote_and_roll_back(widget)
    viewer.window.remove_dock_widget(widget)
    again = open_dock()
    states = {row.case.file_name: row.state for row in again.dock.worklist.rows}
    assert states == dict.fromkeys(states, "accepted")
    assert len(states) == 1 + N_XRAYS


def _drop_and_see_lungs(viewer: Any, widget: MedSegWidget, qtbot: QtBot) -> None:
    assert drop_on(viewer.window._qt_viewer, CT / "dicom" / f"{SLICE}.dcm")
    qtbot.waitUntil(lambda: _labels(widget, SLICE) is not None, timeout=ENGINE_MS)
    truth = formats.read_labels(CT / "labels" / f"{SLICE}.tif", None)
    for label in (1, 2):
        assert compute_dice(_labels(widget, SLICE) == label, truth == label) > 0.95
    qtbot.waitUntil(lambda: widget.dock.labels_panel._sizes[1].text().endswith("mm²"))


def _paint_and_accept(viewer: Any, widget: MedSegWidget, qtbot: QtBot) -> np.ndarray:
    """Paint with the mouse on the canvas, with a label that was chosen in the dock; undo, redo; accept with a key."""
    canvas = viewer.window._qt_viewer.canvas.native
    before = _labels(widget, SLICE).copy()
    widget.dock.labels_panel._buttons.button(2).click()
    layer = widget.dock.case_controller.current.labels_layer
    layer.brush_size = 15
    centre = canvas.rect().center()
    _drag(canvas, centre + QPoint(-30, 0), centre + QPoint(30, 10))
    painted = layer.data.copy()
    changed = painted != before
    assert changed.any()
    assert set(np.unique(painted[changed])) == {2}
    assert widget.dock.case_controller.current.edit_session.draft.changed_voxels == np.count_nonzero(changed)
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(layer.data, before)
    QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert np.array_equal(layer.data, painted)
    with qtbot.waitSignal(widget.dock.case_controller.decided):
        QTest.keyClick(canvas, Qt.Key.Key_A)
    return painted


def _correct_xrays(viewer: Any, widget: MedSegWidget, qtbot: QtBot) -> None:
    """Drop several files at once; each is corrected to people's labels, and Accept opens the next."""
    paths = [XRAY / "images" / f"{name}.jpg" for name in _xray_names()]
    assert drop_on(viewer.window._qt_viewer, *paths)
    left = {path.stem for path in paths}
    while left:
        qtbot.waitUntil(lambda: _open_name(widget) in left, timeout=ENGINE_MS)
        name = _open_name(widget)
        qtbot.waitUntil(lambda name=name: _labels(widget, name) is not None, timeout=ENGINE_MS)
        layer = widget.dock.case_controller.current.labels_layer
        layer.data[...] = formats.read_labels(
            XRAY / "labels" / f"{name}.png", widget.dock.case_controller.current.image
        )
        layer.refresh()
        with qtbot.waitSignal(widget.dock.case_controller.decided):
            widget.dock.review_panel._accept.click()
        left.remove(name)
    assert len(widget.workspace.project.read_records(Correction)) == 1 + N_XRAYS


def _export_and_read_back(widget: MedSegWidget, qtbot: QtBot, folder: Path, corrected: np.ndarray) -> None:
    widget.dock.exporter.write("lungs", ExportChoice(".nii.gz", folder))
    qtbot.waitUntil(lambda: (folder / "measurements.csv").exists(), timeout=ENGINE_MS)
    image = formats.read(CT / "dicom" / f"{SLICE}.dcm")
    assert np.array_equal(formats.read_labels(folder / "patient-1_case-1_labels.nii.gz", image), corrected)
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert len(provenance["cases"] if isinstance(provenance, dict) else provenance) == 1 + N_XRAYS


def _retrain(widget: MedSegWidget, qtbot: QtBot) -> None:
    improve = widget.dock.retrain_panel
    assert improve._retrain.isEnabled()
    improve._budget.setItemData(0, BUDGET_S)
    improve._budget.setCurrentIndex(0)
    improve._retrain.click()
    qtbot.waitUntil(lambda: widget.dock.run_monitor.is_running, timeout=ENGINE_MS)  # the corrections are checked first
    assert improve.progress.isVisible()
    qtbot.waitUntil(lambda: not widget.dock.run_monitor.is_running, timeout=RUN_MS)
    assert widget.dock.run_monitor.run.state is RunState.FINISHED
    assert improve.decision.table.isVisible()
    assert len(improve.decision.table.rows) == 1
    assert improve.decision.verdict.text()


def _promote_and_roll_back(widget: MedSegWidget) -> None:
    registry, improve = widget.workspace.registry, widget.dock.retrain_panel
    improve.decision.promote_button.click()
    assert registry.get_live_card("lungs").id == "lungs-unet@4", "one case is not enough to call it better"
    improve.decision.prompt._reason.setText("this is a test")
    improve.decision.prompt.press_answer("Promote anyway")
    live = registry.get_live_card("lungs")
    assert live.id == "lungs-unet@5"
    assert live.lineage.parent == "lungs-unet@4"
    assert live.lineage.promotion_reason == "this is a test"
    assert widget.dock.case_panel._model.currentText() == "lungs-unet@5 live"
    improve.versions.button.menu().actions()[0].trigger()
    assert registry.get_live_card("lungs").id == "lungs-unet@4"


def _labels(widget: MedSegWidget, name: str) -> Any:
    current = widget.dock.case_controller.current
    shown = current is not None and Path(current.case.file_name).stem == name and current.labels_layer is not None
    return current.labels_layer.data if shown else None


def _open_name(widget: MedSegWidget) -> str:
    current = widget.dock.case_controller.current
    return "" if current is None else Path(current.case.file_name).stem


def _xray_names() -> list[str]:
    with (XRAY / "index.csv").open(encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if row["split"] == "val"][:N_XRAYS]


def _drag(canvas: Any, start: QPoint, end: QPoint) -> None:
    QTest.mouseMove(canvas, start)
    QTest.qWait(50)
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    for step in range(1, 9):
        QTest.mouseMove(canvas, start + (end - start) * step / 8)
        QTest.qWait(10)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, end)
    QTest.qWait(50)
