"""One case on the desk: real project, real draft, napari's own viewer model and labels layer."""

import threading
from collections.abc import Callable, Generator
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from plugin_phantoms import N_RIGHT, Texts, phantom, phantom_labels
from pytestqt.qtbot import QtBot

from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.controllers import case_controller as desk_module
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace


def predicted(ws: Workspace, image: Image, labels: np.ndarray | None = None) -> tuple[Case, Prediction, np.ndarray]:
    (case,) = cases.add_cases(ws, [image], "lungs")
    labels = phantom_labels(len(image.pixels) if image.axes == "ZYX" else 0) if labels is None else labels
    result = PredictionResult(labels, 0.1, None, 1.0, "CPU")
    return case, review.record_prediction(ws, case, result, "lungs-unet@1"), labels


@pytest.fixture
def opened(window: SimpleNamespace) -> SimpleNamespace:
    """A predicted case on the desk."""
    window.worklist.set_predicts_automatically(False)
    window.image = phantom()
    window.case, window.prediction, _ = predicted(window.ws, window.image)
    window.case_controller.open(window.case, window.image)
    return window


def state_of(ws: Workspace, case: Case) -> str:
    return next(row.state for row in cases.list_cases(ws) if row.case.id == case.id)


def test_a_predicted_case_opens_with_its_labels_to_edit(opened: SimpleNamespace) -> None:
    current = opened.case_controller.current
    assert [layer.name for layer in opened.viewer.layers] == ["slice 0", "lungs: slice 0 (predicted)"]
    assert np.array_equal(current.labels_layer.data, phantom_labels())
    assert (current.state, current.is_edited) == ("predicted", False)


def test_a_stroke_makes_a_draft_that_the_layers_name_shows(opened: SimpleNamespace, qtbot: QtBot) -> None:
    with qtbot.waitSignals([opened.case_controller.labels_changed, opened.case_controller.state_changed]):
        opened.case_controller.current.labels_layer.paint((2, 2), 1)
    assert opened.case_controller.current.state == "draft"
    assert opened.viewer.layers[1].name == "lungs: slice 0 (draft)"
    assert state_of(opened.ws, opened.case) == "draft"
    opened.case_controller.undo()
    assert opened.case_controller.current.state == "predicted"
    opened.case_controller.redo()
    assert opened.case_controller.current.state == "draft"


def test_accept_writes_the_labels_as_they_are_seen(opened: SimpleNamespace, qtbot: QtBot) -> None:
    layer = opened.case_controller.current.labels_layer
    layer.paint((2, 2), 1)
    layer.data[40:, :4] = 2  # without a paint event
    seen = layer.data.copy()
    with qtbot.waitSignal(opened.case_controller.decided):
        opened.case_controller.accept()
    (correction,) = opened.ws.project.read_records(Correction)
    assert np.array_equal(case_files.read_case_labels(opened.ws.project.folder, opened.case, correction), seen)
    assert correction.changed_voxels == np.count_nonzero(seen != phantom_labels())
    assert correction.model == "lungs-unet@1"
    assert state_of(opened.ws, opened.case) == "accepted"


def test_swapped_sides_are_refused_and_the_draft_stays(opened: SimpleNamespace, qtbot: QtBot, told: Texts) -> None:
    layer = opened.case_controller.current.labels_layer
    layer.data = np.where(layer.data == 1, 2, np.where(layer.data == 2, 1, 0)).astype(np.uint8)
    opened.case_controller.accept()
    qtbot.waitUntil(lambda: not opened.case_controller.is_busy)
    assert "cannot be accepted" in told
    assert opened.case_controller.current.state == "draft"
    assert layer.editable
    layer.paint((2, 2), 1)
    assert opened.case_controller.current.edit_session.draft.labels[2, 2] == 1


def test_reject_closes_the_case_even_before_a_prediction(window: SimpleNamespace) -> None:
    (case,) = cases.add_cases(window.ws, [phantom(3)], "lungs")
    window.worklist.set_predicts_automatically(False)
    window.case_controller.open(case, phantom(3))
    window.case_controller.reject()
    assert state_of(window.ws, case) == "rejected"


def test_reset_brings_the_prediction_back_and_undo_the_edits(opened: SimpleNamespace) -> None:
    layer = opened.case_controller.current.labels_layer
    layer.paint((2, 2), 1)
    edited = layer.data.copy()
    opened.case_controller.reset()
    assert np.array_equal(layer.data, phantom_labels())
    assert opened.case_controller.current.state == "predicted"
    opened.case_controller.undo()
    assert np.array_equal(layer.data, edited)


def test_a_new_prediction_keeps_what_a_person_edited(opened: SimpleNamespace) -> None:
    layer = opened.case_controller.current.labels_layer
    layer.brush_size = 1
    layer.paint((2, 2), 1)
    layer.paint((20, 10), 0)
    other = np.zeros_like(phantom_labels())
    other[20:30, 8:20] = 1
    _, prediction, _ = predicted(opened.ws, opened.image, other)
    opened.case_controller.show_prediction(prediction, other)
    assert layer.data[2, 2] == 1
    assert layer.data[20, 10] == 0
    assert np.count_nonzero(layer.data) == 10 * 12 - 1 + 1
    opened.case_controller.undo()
    assert np.count_nonzero(layer.data == 1) == N_RIGHT - 1 + 1


def test_a_blank_start_can_be_painted_without_any_model(window: SimpleNamespace) -> None:
    (case,) = cases.add_cases(window.ws, [phantom(4)], "lungs")
    window.worklist.set_predicts_automatically(False)
    window.case_controller.open(case, phantom(4))
    assert window.case_controller.current.labels_layer is None
    window.case_controller.restart_review()
    window.case_controller.current.labels_layer.paint((5, 5), 2)
    assert state_of(window.ws, case) == "draft"


def test_another_case_takes_the_place_and_the_draft_waits(opened: SimpleNamespace, qtbot: QtBot) -> None:
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    other = phantom(1)
    case, _, _ = predicted(opened.ws, other)
    opened.case_controller.open(case, other)
    assert [layer.name for layer in opened.viewer.layers] == ["slice 1", "lungs: slice 1 (predicted)"]
    assert [waiting.id for waiting in review.list_draft_cases(opened.ws)] == [opened.case.id]
    opened.case_controller.open(opened.case, opened.image)
    assert opened.case_controller.current.state == "draft"
    assert opened.case_controller.current.labels_layer.data[2, 2] == 1
    opened.case_controller.undo()
    assert opened.case_controller.current.labels_layer.data[2, 2] == 0


def test_an_image_that_is_not_in_memory_is_read_in_a_thread(window: SimpleNamespace, qtbot: QtBot, told: Texts) -> None:
    case, _, _ = predicted(window.ws, phantom(5))
    case_files.write_image_copy(window.ws.project.folder, phantom(5))
    window.case_controller.open(case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert np.array_equal(window.case_controller.current.image.pixels, phantom(5).pixels)
    lost, _, _ = predicted(window.ws, phantom(6))
    window.case_controller.open(lost)
    qtbot.waitUntil(lambda: not window.case_controller.is_busy)
    assert window.case_controller.current.case.id == case.id
    assert "cannot be shown" in told


def test_a_case_that_was_read_can_be_accepted_before_the_reading_thread_has_ended(
    window: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.worklist.set_predicts_automatically(False)
    case, _, _ = predicted(window.ws, phantom(5))
    case_files.write_image_copy(window.ws.project.folder, phantom(5))
    finish = threading.Event()
    read = desk_module._load_image

    def read_slowly(ws: Workspace, case: Case) -> Generator[Image]:
        try:
            yield from read(ws, case)
        finally:
            finish.wait()

    monkeypatch.setattr(desk_module, "_load_image", read_slowly)
    try:
        window.case_controller.open(case)
        qtbot.waitUntil(lambda: window.case_controller.current is not None)
        assert not window.case_controller.is_busy
    finally:
        finish.set()
    with qtbot.waitSignal(window.case_controller.decided):
        window.case_controller.accept()
    assert state_of(window.ws, case) == "accepted"


def test_an_accepted_case_opens_with_what_was_accepted_and_stays_accepted(
    opened: SimpleNamespace, qtbot: QtBot
) -> None:
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    accepted = opened.case_controller.current.labels_layer.data.copy()
    with qtbot.waitSignal(opened.case_controller.decided):
        opened.case_controller.accept()
    opened.case_controller.close_case()
    assert len(opened.viewer.layers) == 0
    opened.case_controller.open(opened.case, opened.image)
    assert np.array_equal(opened.case_controller.current.labels_layer.data, accepted)
    assert opened.case_controller.current.state == "accepted"
    opened.case_controller.current.labels_layer.paint((45, 60), 2)
    assert opened.case_controller.current.state == "draft"


def test_a_case_can_be_edited_again_right_after_it_was_accepted(opened: SimpleNamespace, qtbot: QtBot) -> None:
    with qtbot.waitSignal(opened.case_controller.decided):
        opened.case_controller.accept()
    layer = opened.case_controller.current.labels_layer
    assert not layer.editable
    opened.case_controller.restart_review()
    assert layer.editable
    layer.paint((2, 2), 1)
    assert opened.case_controller.current.state == "draft"


def test_deleting_our_layers_loses_nothing(opened: SimpleNamespace) -> None:
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    opened.viewer.layers.remove(opened.case_controller.current.labels_layer)
    assert opened.case_controller.current.labels_layer is None
    opened.case_controller.restart_review()
    assert opened.case_controller.current.labels_layer.data[2, 2] == 1
    opened.viewer.layers.remove(opened.case_controller.current.image_layer)
    assert opened.case_controller.current is None
    assert len(opened.viewer.layers) == 0
    assert state_of(opened.ws, opened.case) == "draft"


def test_undo_shows_the_slice_on_which_it_was(window: SimpleNamespace) -> None:
    image = phantom(n_slices=6)
    case, _, _ = predicted(window.ws, image)
    window.case_controller.open(case, image)
    layer = window.case_controller.current.labels_layer
    layer.paint((1, 3, 3), 1)
    window.viewer.dims.set_current_step(0, 5)
    window.case_controller.undo()
    assert window.viewer.dims.current_step[0] == 1


def test_the_next_restart_finds_the_draft(
    opened: SimpleNamespace, open_workspace: Callable[[], Workspace], qtbot: QtBot
) -> None:
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    opened.worklist.close()  # else it would go on reading; the draft is not closed, as after kill -9
    ws = open_workspace()
    (case,) = review.list_draft_cases(ws)
    desk = CaseController(ViewerModel(), ws)
    desk.open(case, opened.image)
    assert desk.current.labels_layer.data[2, 2] == 1
    assert desk.current.state == "draft"
    desk.close()
