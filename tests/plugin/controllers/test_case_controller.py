"""One case on the desk: real project, real draft, napari's own viewer model and labels layer."""

import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from plugin_phantoms import N_RIGHT, Texts, phantom, phantom_labels
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools, open_case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.drafts import preparer
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
    assert [layer.name for layer in opened.viewer.layers] == ["patient 1 case 1", "lungs: patient 1 case 1 (predicted)"]
    assert np.array_equal(current.labels_layer.data, phantom_labels())
    assert (current.state, current.is_edited) == ("predicted", False)


def test_a_stroke_makes_a_draft_that_the_layers_name_shows(opened: SimpleNamespace, qtbot: QtBot) -> None:
    with qtbot.waitSignals([opened.case_controller.labels_changed, opened.case_controller.state_changed]):
        opened.case_controller.current.labels_layer.paint((2, 2), 1)
    assert opened.case_controller.current.state == "draft"
    assert opened.viewer.layers[1].name == "lungs: patient 1 case 1 (draft)"
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
    assert [layer.name for layer in opened.viewer.layers] == ["patient 2 case 2", "lungs: patient 2 case 2 (predicted)"]
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
    read = open_case.load_image

    def read_slowly(ws: Workspace, case: Case) -> Generator[Image]:
        try:
            yield from read(ws, case)
        finally:
            finish.wait()

    monkeypatch.setattr(open_case, "load_image", read_slowly)
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


def test_tools_are_kept_within_a_task_and_never_carried_into_another(opened: SimpleNamespace) -> None:
    desk, ws = opened.case_controller, opened.ws
    (slide,) = cases.add_cases(ws, [colour_image()], "nuclei")
    nuclei = np.zeros((48, 64), np.uint32)
    nuclei[2:4, 2:4] = 536
    review.record_prediction(ws, slide, PredictionResult(nuclei, 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    desk.current.labels_layer.selected_label, desk.current.labels_layer.brush_size = 2, 33
    desk.open(slide, colour_image())
    assert desk.current.labels_layer.selected_label == 537, "a free number, not one of lungs"
    assert desk.current.labels_layer.brush_size != 33
    desk.open(opened.case, opened.image)
    assert desk.current.case.id == opened.case.id
    assert (desk.current.labels_layer.selected_label, desk.current.labels_layer.brush_size) == (2, 33)
    assert desk.current.labels_layer.data.dtype == np.uint8


def test_a_new_prediction_of_objects_selects_a_number_that_is_free_in_it(window: SimpleNamespace) -> None:
    window.worklist.set_predicts_automatically(False)
    (slide,) = cases.add_cases(window.ws, [colour_image()], "nuclei")
    window.case_controller.open(slide, colour_image())
    window.case_controller.show_prediction(None)
    layer = window.case_controller.current.labels_layer
    assert layer.selected_label == 1
    objects = np.zeros((48, 64), np.uint32)
    objects[2:4, 2:4], objects[8:9, 8:9] = 1, 2
    result = PredictionResult(objects, 0.1, None, 1.0, "CPU")
    prediction = review.record_prediction(window.ws, slide, result, "lungs-unet@1")
    window.case_controller.show_prediction(prediction, objects)
    assert layer.selected_label == 3


@pytest.mark.parametrize("unit_changes", [False, True])
@pytest.mark.parametrize("error", [ValueError("a fault"), MedSegError("cannot"), MemoryError(), OSError(28, "full")])
def test_a_case_that_fails_to_open_leaves_nothing_and_the_next_one_opens(
    opened: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: Exception, unit_changes: bool, told: Texts
) -> None:
    desk, viewer = opened.case_controller, opened.viewer
    image = replace(phantom(1), spacing_mm=None) if unit_changes else phantom(1)
    other, _, _ = predicted(opened.ws, image)
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    failures: list[Case] = []
    desk.open_failed.connect(failures.append)

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(labels_tools, "select_initial_label", refuse)
        if isinstance(error, ValueError):
            with pytest.raises(ValueError, match="a fault"):
                desk.open(other, image)
        else:
            desk.open(other, image)
            assert len(told) == 1
    assert failures == [other]
    assert desk.current is None
    assert len(viewer.layers) == 0, "the case before is closed, its draft is on disk"
    desk.open(other, image)
    assert desk.current.state == "predicted"
    desk.current.labels_layer.paint((2, 2), 1)
    assert desk.current.state == "draft", "strokes are recorded"
    desk.open(opened.case, opened.image)
    assert desk.current.labels_layer.data[2, 2] == 1


def test_a_case_whose_labels_cannot_be_read_leaves_the_open_one_as_it_is(opened: SimpleNamespace, told: Texts) -> None:
    other, prediction, _ = predicted(opened.ws, phantom(1), np.roll(phantom_labels(), 3))
    (opened.ws.project.folder / prediction.labels_file).write_bytes(b"damaged")
    opened.case_controller.open(other, phantom(1))
    assert "is damaged" in told
    assert opened.case_controller.current.case.id == opened.case.id
    assert [layer.name for layer in opened.viewer.layers] == ["patient 1 case 1", "lungs: patient 1 case 1 (predicted)"]
    opened.case_controller.current.labels_layer.paint((2, 2), 1)
    assert opened.case_controller.current.state == "draft"


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_layer_whose_case_cannot_be_opened_is_removed_or_given_back(
    opened: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    image = phantom(1)
    other, _, _ = predicted(opened.ws, image)
    metadata = {layers.METADATA_KEY: {"image": image}} if is_ours else {}
    layer = opened.viewer.add_image(image.pixels, metadata=metadata, name="given")

    def refuse(*_: object) -> None:
        raise MedSegError("cannot")

    with monkeypatch.context() as patch:
        patch.setattr(labels_tools, "select_initial_label", refuse)
        opened.case_controller.open(other, image, layer)
    assert [layer.name for layer in opened.viewer.layers] == ([] if is_ours else ["given"])
    assert is_ours or layers.is_foreign_image(layer)


def colour_image() -> Image:
    pixels = np.random.default_rng(0).integers(100, 255, (48, 64, 3)).astype(np.uint8)
    return Image(pixels, "YXC", units="rgb", group="slide", name="slide")


def test_another_case_opens_while_the_accepted_labels_are_saved(opened: SimpleNamespace, qtbot: QtBot) -> None:
    other, _, _ = predicted(opened.ws, phantom(1))
    predicted(opened.ws, phantom(2))
    opened.case_controller.accept()
    opened.case_controller.open(other, phantom(1))
    assert opened.case_controller.current.case.id == other.id
    qtbot.waitUntil(lambda: not opened.case_controller.saver.is_running)
    assert opened.case_controller.current.case.id == other.id
    assert state_of(opened.ws, opened.case) == "accepted"


def test_a_prediction_that_cannot_be_shown_closes_the_case_and_loses_no_stroke(
    opened: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = phantom_labels()
    _, prediction, _ = predicted(opened.ws, opened.image, labels)
    opened.case_controller.current.labels_layer.data[:2, :2] = 1  # without a paint event

    def refuse(*_: object) -> None:
        raise MedSegError("cannot")

    monkeypatch.setattr(preparer, "load_draft", refuse)
    with pytest.raises(MedSegError):
        opened.case_controller.show_prediction(prediction)
    monkeypatch.undo()
    assert opened.case_controller.current is None
    assert len(opened.viewer.layers) == 0
    opened.case_controller.open(opened.case, opened.image)
    assert opened.case_controller.current.state == "draft"
    assert opened.case_controller.current.labels_layer.data[1, 1] == 1


def test_labels_of_a_large_case_are_loaded_in_a_thread(
    window: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    load = preparer.load_draft

    def load_and_note(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return load(*arguments)

    monkeypatch.setattr(preparer, "load_draft", load_and_note)
    monkeypatch.setattr(preparer, "MAX_VOXELS_AT_ONCE", 100)
    window.worklist.set_predicts_automatically(False)
    desk, image = window.case_controller, phantom(n_slices=3)
    case, prediction, labels = predicted(window.ws, image)
    desk.open(case, image)
    qtbot.waitUntil(lambda: desk.current is not None and desk.current.edit_session is not None)
    assert np.array_equal(desk.current.labels_layer.data, labels)
    assert desk.current.labels_layer.data is not desk.current.edit_session.draft.labels
    desk.show_prediction(prediction, labels)
    assert not desk.current.labels_layer.editable, "nothing records strokes until the draft is loaded"
    qtbot.waitUntil(lambda: desk.current.edit_session is not None)
    desk.current.labels_layer.paint((1, 2, 2), 1)
    assert desk.current.state == "draft"
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_a_review_that_is_started_again_and_again_has_one_recorder(
    window: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparer, "MAX_VOXELS_AT_ONCE", 100)
    window.worklist.set_predicts_automatically(False)
    desk, image = window.case_controller, phantom(n_slices=3)
    case, prediction, labels = predicted(window.ws, image)
    desk.open(case, image)
    qtbot.waitUntil(lambda: desk.current is not None and desk.current.edit_session is not None)
    desk.show_prediction(prediction, labels)
    desk.show_prediction(prediction, labels)
    desk.restart_review()
    assert desk.current.edit_session is not None, "a person who asks for a review can edit at once"
    session = desk.current.edit_session
    desk.current.labels_layer.paint((1, 2, 2), 1)
    qtbot.wait(300)
    assert desk.current.edit_session is session
    desk.current.labels_layer.paint((1, 9, 9), 1)
    shown = desk.current.labels_layer.data.copy()
    desk.close_case()
    draft = review.open_review(window.ws, case, prediction)
    assert np.array_equal(draft.labels, shown)
    draft.close()


def test_a_draft_of_16_bits_becomes_wider_with_a_larger_number(window: SimpleNamespace) -> None:
    window.worklist.set_predicts_automatically(False)
    desk = window.case_controller
    (slide,) = cases.add_cases(window.ws, [colour_image()], "nuclei")
    desk.open(slide, colour_image())
    few, many = np.zeros((48, 64), np.uint32), np.zeros((48, 64), np.uint32)
    few[2:4, 2:4], many[8:9, 8:9] = 1, 70_000
    for labels in (few, many):
        result = PredictionResult(labels, 0.1, None, 1.0, "CPU")
        prediction = review.record_prediction(window.ws, slide, result, "lungs-unet@1")
        desk.show_prediction(prediction, labels)
        assert desk.current.labels_layer.data.max() == labels.max()
        desk.current.labels_layer.paint((20, 20), 2)  # so that the next prediction is merged
    assert desk.current.labels_layer.data[20, 20] == 2
    desk.undo()
    assert desk.current.labels_layer.data.dtype == desk.current.edit_session.draft.labels.dtype == np.uint32
