"""What the model knows, in the dock on napari's viewer model: probabilities, doubtful places, proposals, threshold."""

import threading
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from plugin_phantoms import PhantomEngine, phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.core.editing.piece_tools import rank_labels
from napari_medseg.core.editing.pieces import find_piece_in_plane
from napari_medseg.core.records import Review
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow.guidance.probability_cache import CACHE_FOLDER
from napari_medseg.workflow.workspace import Workspace

EDGE = (slice(1, 4), slice(20, 30), slice(22, 26))
"""The inner border of the right lung, on three slices."""
BESIDE = (slice(1, 4), slice(20, 30), slice(26, 30))


@pytest.fixture
def engine(ws: Workspace) -> PhantomEngine:
    assert isinstance(ws.engine, PhantomEngine)
    return ws.engine


def open_volume(dock: Dock, qtbot: QtBot, folder: Path, number: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / f"volume{number}.tif"
    formats.write_image(path, phantom(number, n_slices=5))
    before = dock.case_controller.current
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([path])
    qtbot.waitUntil(lambda: dock.case_controller.current not in (None, before))
    qtbot.waitUntil(lambda: dock.case_controller.current.edit_session is not None)
    wait_for_maps(dock, qtbot)


def wait_for_maps(dock: Dock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.guidance.maps.why_not)


def press(hold: Generator[None]) -> None:
    """Press and release a key."""
    for _ in hold:
        pass


def get_message(dock: Dock) -> str:
    return dock.correction.row.message.text()


def test_places_are_visited_called_right_and_stored_with_the_review(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    engine.doubtful = [EDGE, (slice(4, 5), slice(12, 15), slice(40, 44))]
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    guidance, viewer = dock.guidance, dock._viewer
    assert engine.n_probabilities == 1, "they come with the labels, in one pass"
    assert guidance.places_row._text.text() == "doubtful places: 0 of 2 seen"
    viewer.dims.set_point(0, 0)
    viewer.scene.camera.center = (0.0, 500.0, 500.0)
    guidance.go(+1)
    assert get_message(dock).startswith("place 1 of 2, right lung: ")
    assert guidance.editor.find_plane() in (1, 2, 3)
    assert viewer.scene.camera.center[-2:] == pytest.approx((0.5 * 24.5, 0.5 * 23.5), abs=0.6)
    assert guidance.places_row._text.text() == "doubtful places: 1 of 2 seen"
    labels = dock.case_controller.current.labels_layer.data.copy()
    guidance.confirm()
    assert "right lung is right here: 120 voxels" in get_message(dock)
    draft = dock.case_controller.current.edit_session.draft
    assert draft.edited_indices.size == 120
    np.testing.assert_array_equal(dock.case_controller.current.labels_layer.data, labels)
    guidance.editor.make_canvas()
    assert guidance.editor.make_canvas().protected[EDGE].all()
    assert dock.review_panel._accept.isEnabled(), "Accept is always possible"
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    (review,) = ws.project.read_records(Review)
    assert (review.doubtful_places, review.doubtful_places_seen) == (2, 1)


def test_what_was_seen_is_remembered_after_a_restart(
    open_workspace: Callable[[], Workspace], make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    ws = open_workspace()
    ws.engine.doubtful = [EDGE, (slice(4, 5), slice(12, 15), slice(40, 44))]  # type: ignore[attr-defined]
    dock = Dock(ViewerModel(), ws)
    open_volume(dock, qtbot, tmp_path / "in")
    dock.guidance.go(+1)
    case = dock.case_controller.current.case
    dock.close_down()
    again = make_dock(open_workspace())
    again.worklist.open(case)
    qtbot.waitUntil(lambda: again.case_controller.current is not None)
    wait_for_maps(again, qtbot)
    assert again.guidance.places_row._text.text() == "doubtful places: 1 of 2 seen"
    assert again._workspace.engine.n_probabilities == 0, "they were in the cache"  # type: ignore[attr-defined]


def test_evicted_and_damaged_probabilities_are_computed_again_in_the_background(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    case, n_predictions = dock.case_controller.current.case, len(dock.worklist.rows)
    (file,) = (path for path in (ws.project.folder / CACHE_FOLDER).iterdir() if path.is_file())
    for damage in (b"", b"damaged"):
        dock.case_controller.close_case()
        file.write_bytes(damage) if damage else file.unlink()
        engine.gate = threading.Event()
        dock.worklist.open(case)
        qtbot.waitUntil(lambda: "being computed" in dock.guidance.maps.why_not)
        dock.guidance.go(+1)
        assert "being computed" in get_message(dock)
        dock.guidance.threshold.show_label(0.3)
        assert "being computed" in get_message(dock)
        engine.gate.set()
        wait_for_maps(dock, qtbot)
        assert file.exists()
    assert len(dock.worklist.rows) == n_predictions
    assert len(ws.project.read_case_history(case.id).prediction.labels_file) > 0


def test_a_correction_is_proposed_on_the_slices_beside_it_and_taken_one_by_one(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    engine.doubtful = [EDGE]
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    guidance, layer = dock.guidance, dock.case_controller.current.labels_layer
    dock._viewer.dims.set_current_step(0, 2)
    rows, columns = (axis.ravel() for axis in np.mgrid[EDGE[1:]])
    layer.data_setitem((np.full(rows.size, 2), rows, columns), 0)
    qtbot.waitUntil(lambda: len(guidance.proposals.pending) == 2)
    assert "2 proposals on slices 1, 3" in guidance.places_row._proposed.text()
    guidance.go(+1)
    assert guidance.proposals.shown is not None
    plane = guidance.editor.find_plane()
    assert plane in (1, 3)
    assert guidance.editor.preview.drawing is not None
    assert (layer.data[plane][EDGE[1:]] == 1).all(), "shown, not done"
    guidance.confirm()
    assert np.count_nonzero(layer.data[plane][EDGE[1:]] == 0) > 20
    assert len(guidance.proposals.pending) == 1, "the other one stays"
    dock.case_controller.undo()
    assert (layer.data[plane][EDGE[1:]] == 1).all()


def test_the_piece_under_the_mouse_and_the_label_follow_the_probability(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    engine.doubtful = [EDGE]
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    guidance, layer = dock.guidance, dock.case_controller.current.labels_layer
    dock._viewer.dims.set_current_step(0, 2)
    guidance.editor.find_cursor = lambda: (2, 25, 10)  # type: ignore[method-assign]
    press(guidance.threshold.step_while_held(-1))
    assert get_message(dock) == "all of right lung reaches 0.60."
    hold = guidance.threshold.step_while_held(-1)
    next(hold)
    assert guidance.editor.preview.drawing is not None
    assert (layer.data[2][EDGE[1:]] == 1).all(), "shown, not done"
    next(hold, None)
    assert get_message(dock) == "right lung at threshold 0.70: −40 px"
    assert not layer.data[2][EDGE[1:]].any()
    assert (layer.data[1][EDGE[1:]] == 1).all(), "only this slice"
    dock.case_controller.undo()
    slider = guidance.threshold_row.slider
    layer.selected_label = 1
    slider.setSliderDown(True)
    slider.setValue(-30)
    assert guidance.editor.preview.drawing is not None
    slider.setSliderDown(False)
    assert not layer.data[2][EDGE[1:]].any()
    assert slider.value() == 0


def test_a_slice_between_two_is_interpolated_or_the_reason_is_said(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    def leave_out_a_slice(labels: NDArray[np.uint8]) -> None:
        labels[2] = 0

    engine.change = leave_out_a_slice
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    layer = dock.case_controller.current.labels_layer
    layer.selected_label = 1
    dock._viewer.dims.set_current_step(0, 0)
    dock.guidance.interpolate()
    assert get_message(dock) == "slice 2 has no right lung. Draw it there first."
    dock._viewer.dims.set_current_step(0, 2)
    dock.guidance.interpolate()
    assert get_message(dock).startswith("interpolated right lung on slice 2")
    np.testing.assert_array_equal(layer.data[2] == 1, layer.data[1] == 1)
    dock.guidance.interpolate()
    assert "slice 2 has right lung or other labels there already" in get_message(dock)


def test_a_model_that_is_gone_is_named(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    (file,) = (path for path in (ws.project.folder / CACHE_FOLDER).iterdir() if path.is_file())
    file.unlink()
    monkeypatch.setattr(
        "napari_medseg.plugin.guidance.model_maps.explain_missing_model", lambda *_: "lungs-unet@1 is no longer there"
    )
    dock.guidance.maps.why_not = "again"
    dock.guidance.maps.refresh()
    qtbot.waitUntil(lambda: dock.guidance.maps.why_not == "lungs-unet@1 is no longer there")
    dock.guidance.go(+1)
    assert get_message(dock) == "lungs-unet@1 is no longer there"
    assert not dock.guidance.threshold_row.slider.isEnabled()


def test_the_second_most_likely_label_is_offered_first(
    ws: Workspace, engine: PhantomEngine, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    open_volume(dock, qtbot, tmp_path / "in")
    canvas = dock.guidance.editor.make_canvas()
    assert rank_labels(canvas, find_piece_in_plane(canvas.labels, (2, 25, 10))) == [2]
    assert canvas.probability is not None
