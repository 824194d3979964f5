"""Marking the part that was reviewed: in the dock on napari's viewer model, and by hand in a real window."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.key_bindings import coerce_keybinding
from plugin_phantoms import SHAPE, Texts, phantom, phantom_labels, write_phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_medseg.core import formats
from napari_medseg.core.project.review_region import WHOLE_IMAGE
from napari_medseg.core.records import Correction
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.main_widget import MedSegWidget
from napari_medseg.plugin.panels.review_panel import ReviewRegionButton
from napari_medseg.workflow.workspace import Workspace

HEIGHT, WIDTH = SHAPE
LEFT_HALF = np.array([(0, 0), (0, WIDTH / 2), (HEIGHT, WIDTH / 2), (HEIGHT, 0)]) - 0.5

needs_display = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen" or (sys.platform == "linux" and not os.environ.get("DISPLAY")),
    reason="needs a display with OpenGL: xvfb-run",
)


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock]) -> Dock:
    return make_dock(ws)


def drop(dock: Dock, qtbot: QtBot, *paths: Path) -> None:
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read(list(paths))
    qtbot.waitUntil(lambda: bool(dock.worklist.rows) and all(row.state != "new" for row in dock.worklist.rows))
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.edit_session is not None
    )
    qtbot.waitUntil(lambda: dock.prediction_queue.running_request is None)


def write_volume(folder: Path) -> Path:
    path = folder / "volume.tif"
    formats.write_image(path, phantom(5, n_slices=4))
    return path


def button(dock: Dock) -> ReviewRegionButton:
    return dock.review_panel.findChild(ReviewRegionButton)


def choose(dock: Dock, start: str) -> None:
    (action,) = [one for one in button(dock).menu().actions() if one.text().startswith(start)]
    assert action.isVisible()
    assert action.isEnabled()
    action.trigger()


def area_layer(dock: Dock) -> Any:
    return next((layer for layer in dock._viewer.layers if layer.name.startswith("reviewed area")), None)


def draw(dock: Dock, corners: np.ndarray, kind: str = "rectangle") -> None:
    choose(dock, "Mark a rectangle")
    area_layer(dock).add(corners, shape_type=kind)


def test_without_a_case_there_is_nothing_to_mark(dock: Dock) -> None:
    assert not button(dock).isEnabled()
    assert "Open a case first" in button(dock).toolTip()
    assert button(dock).text() == "reviewed: the whole image ▾"


def test_a_rectangle_says_its_share_and_gives_the_brush_back(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, write_phantom(tmp_path, 1))
    viewer, labels = dock._viewer, dock.case_controller.current.labels_layer
    labels.mode = "paint"
    viewer.keymap[coerce_keybinding("C")](viewer)
    layer = area_layer(dock)
    assert viewer.layers.selection.active is layer
    assert layer.mode == "add_rectangle"
    assert button(dock).text() == "reviewed: all, until you draw ▾"
    layer.add(LEFT_HALF, shape_type="rectangle")
    assert button(dock).text() == "reviewed: 50 % of the image ▾"
    assert "50 % of the image" in dock.review_panel._accept.toolTip()
    qtbot.waitUntil(lambda: viewer.layers.selection.active is labels)
    assert labels.mode == "paint"
    layer.add(np.add(LEFT_HALF, (0, WIDTH / 4)), shape_type="polygon")
    assert button(dock).text() == "reviewed: 75 % of the image ▾"
    layer.selected_data = {0, 1}
    layer.remove_selected()
    assert dock.review_region.is_whole_image


def test_our_keys_work_while_the_area_is_drawn(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    """napari's layer of shapes has an I, E, L, P, F, R, S, D and T of its own."""
    drop(dock, qtbot, write_phantom(tmp_path, 1))
    viewer, labels = dock._viewer, dock.case_controller.current.labels_layer
    for key, mode in (("E", "erase"), ("P", "paint"), ("L", "pick"), ("F", "fill")):
        viewer.keymap[coerce_keybinding("C")](viewer)
        layer = area_layer(dock)
        layer.keymap[coerce_keybinding(key)](layer)
        assert viewer.layers.selection.active is labels
        assert labels.mode == mode
    viewer.keymap[coerce_keybinding("C")](viewer)
    held = layer.keymap[coerce_keybinding("H")](layer)
    next(held)
    assert viewer.layers.selection.active is labels
    assert dock.correction.mouse_tools.tool.name == "border"
    held.close()
    ours = {coerce_keybinding(key.key) for key in dock._keys.keys if key.is_bound}
    assert ours <= set(layer.keymap)


def test_accepting_keeps_the_area_and_the_case_comes_back_with_it(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, write_phantom(tmp_path, 1), write_phantom(tmp_path, 2))
    first = dock.case_controller.current.case
    draw(dock, LEFT_HALF)
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
        assert not area_layer(dock).editable, "what is drawn now would not be in the correction"
    qtbot.waitUntil(
        lambda: dock.case_controller.current is not None and dock.case_controller.current.case.id != first.id
    )
    assert area_layer(dock) is None, "the area goes with its case"
    assert button(dock).text() == "reviewed: the whole image ▾"
    (correction,) = dock._workspace.project.read_records(Correction)
    mask = formats.read_labels(dock._workspace.project.folder / correction.reviewed_file, None)
    assert mask[:, : WIDTH // 2].all()
    assert not mask[:, WIDTH // 2 :].any()
    labels = formats.read_labels(dock._workspace.project.folder / correction.labels_file, None)
    np.testing.assert_array_equal(labels, phantom_labels())

    dock.worklist.open(first)
    qtbot.waitUntil(lambda: dock.case_controller.current.case.id == first.id and area_layer(dock) is not None)
    assert button(dock).text() == "reviewed: 50 % of the image ▾"
    assert not dock.review_panel._accept.isEnabled()
    choose(dock, "The whole image")
    assert area_layer(dock) is None
    assert dock.review_panel._accept.isEnabled(), "another area is a reason to accept anew"
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    assert dock._workspace.project.read_records(Correction)[-1].reviewed_file == ""


def test_the_area_of_a_draft_survives_the_window(
    open_workspace: Callable[[], Workspace], make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    before = make_dock(open_workspace())
    drop(before, qtbot, write_phantom(tmp_path, 1))
    case = before.case_controller.current.case
    draw(before, LEFT_HALF)
    before.close_down()
    assert area_layer(before) is None
    after = make_dock(open_workspace())
    after.worklist.open(case)
    qtbot.waitUntil(lambda: area_layer(after) is not None)
    np.testing.assert_allclose(area_layer(after).data[0], LEFT_HALF)
    assert button(after).text() == "reviewed: 50 % of the image ▾"


def test_an_area_off_the_image_is_refused_and_the_draft_stays(
    dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(dock, qtbot, write_phantom(tmp_path, 1))
    dock.case_controller.current.labels_layer.paint((2, 2), 1)
    draw(dock, LEFT_HALF + 1000)
    assert button(dock).text() == "reviewed: nothing, the region is empty ▾"
    dock.review_panel.accept()
    qtbot.waitUntil(lambda: "the reviewed area of patient 1 case 1 is empty" in told)
    qtbot.waitUntil(lambda: not dock.case_controller.is_busy)
    assert not dock._workspace.project.read_records(Correction)
    assert dock.case_controller.current.labels_layer.editable
    assert dock.case_controller.current.labels_layer.data[2, 2] == 1
    assert area_layer(dock).editable
    choose(dock, "The whole image")
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()


def test_a_layer_that_is_deleted_by_hand_takes_the_area_with_it(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, write_phantom(tmp_path, 1))
    draw(dock, LEFT_HALF)
    dock._viewer.layers.remove(area_layer(dock))
    assert dock.case_controller.current.edit_session.draft.review_region == WHOLE_IMAGE
    assert button(dock).text() == "reviewed: the whole image ▾"
    draw(dock, LEFT_HALF)
    dock._viewer.layers.remove(dock.case_controller.current.labels_layer)
    assert area_layer(dock) is None
    qtbot.waitUntil(lambda: area_layer(dock) is not None)
    assert dock.case_controller.current.labels_layer in dock._viewer.layers, "they come back with their area"


def test_what_was_not_reviewed_is_dimmed_below_the_labels(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, write_phantom(tmp_path, 1))
    labels = dock.case_controller.current.labels_layer

    def find_dimming() -> Any:
        return next((layer for layer in dock._viewer.layers if layer.name.startswith("not reviewed")), None)

    draw(dock, LEFT_HALF)
    qtbot.waitUntil(lambda: find_dimming() is not None)
    dimming = find_dimming()
    assert dimming.data.mean() == pytest.approx(1 - 0.5, abs=0.03)
    assert (dimming.data[:, 3].any(), dimming.data[:, -3].all()) == (False, True)
    order = [layer.name.split(":")[0] for layer in dock._viewer.layers]
    assert order.index("not reviewed") < order.index("lungs") < order.index("reviewed area")
    qtbot.waitUntil(lambda: dock._viewer.layers.selection.active is labels)
    choose(dock, "The whole image")
    assert find_dimming() is None
    draw(dock, LEFT_HALF + 1000)
    qtbot.wait(20)
    assert find_dimming() is None, "an empty region darkens nothing"


def test_slices_of_a_volume_count_one_by_one(dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    drop(dock, qtbot, write_volume(tmp_path))
    viewer, labels = dock._viewer, dock.case_controller.current.labels_layer
    choose(dock, "Add the slices that I changed")
    assert "no label was changed" in told
    draw(dock, np.insert(LEFT_HALF, 0, 2, axis=1))
    assert button(dock).text() == "reviewed: 12 %, in 1 slice ▾"
    viewer.dims.set_current_step(0, 0)
    choose(dock, "Add the slice in view")
    assert button(dock).text() == "reviewed: 38 %, in 2 slices ▾"
    labels.paint((3, 2, 2), 1)
    choose(dock, "Add the slices that I changed")
    covered = dock.case_controller.current.edit_session.draft.review_region.compute_mask(labels.data.shape)
    assert [float(plane.mean()) for plane in covered] == [1.0, 0.0, 0.5, 1.0]


def test_an_outline_across_slices_is_not_taken(dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    drop(dock, qtbot, write_volume(tmp_path))
    draw(dock, np.insert(LEFT_HALF, 0, 2, axis=1))
    kept = dock.case_controller.current.edit_session.draft.review_region
    area_layer(dock).add(np.array([(0, 3, 3), (0, 3, 9), (3, 3, 9), (3, 3, 3)]), shape_type="polygon")
    assert "lies across slices" in told
    qtbot.waitUntil(lambda: len(area_layer(dock).data) == 1)
    assert dock.case_controller.current.edit_session.draft.review_region == kept


@needs_display
def test_a_rectangle_is_dragged_in_a_real_window(
    make_napari_viewer: Callable[..., Any], ws: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    widget = MedSegWidget(viewer, ws)
    viewer.window.add_dock_widget(widget, name="MedSeg")
    dock = widget.dock
    try:
        drop(dock, qtbot, write_phantom(tmp_path, 1))
        labels = dock.case_controller.current.labels_layer
        labels.mode = "paint"
        choose(dock, "Mark a rectangle")
        canvas = viewer.window._qt_viewer.canvas.native
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        _drag(canvas, middle - QPoint(60, 60), middle + QPoint(60, 60))
        qtbot.waitUntil(lambda: viewer.layers.selection.active is labels)
        assert labels.mode == "paint"
        (outline,) = dock.case_controller.current.edit_session.draft.review_region.outlines
        seen = dock.case_controller.current.edit_session.draft.review_region.compute_mask(SHAPE)
        assert seen[HEIGHT // 2, WIDTH // 2]
        assert not seen[0, 0]
        assert " % of the image" in button(dock).text()
        assert len(outline.corners) == 4
        assert dock.case_controller.current.edit_session.draft.changed_voxels == 0, "no stroke by the way"
    finally:
        widget.close_down()


def _drag(canvas: Any, start: QPoint, end: QPoint) -> None:
    left, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseMove(canvas, start)
    QTest.qWait(50)
    QTest.mousePress(canvas, left, no_key, start)
    for step in range(1, 6):
        QTest.mouseMove(canvas, start + (end - start) * step / 5)
        QTest.qWait(30)
    QTest.mouseRelease(canvas, left, no_key, end)
