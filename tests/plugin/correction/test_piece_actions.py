"""Keys over a piece: shown while pressed, done on release, on the slice or in the volume."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from correction_phantoms import FIRST_NUMBER, make_nuclei, open_predicted, stained
from plugin_phantoms import phantom, phantom_labels
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QWidget

from napari_medseg.plugin.correction import editor
from napari_medseg.plugin.correction.tools import PIECE_ACTIONS
from napari_medseg.plugin.widgets import key_places

ACTIONS = {action.name: action for action in PIECE_ACTIONS}
IN_RIGHT, IN_BACKGROUND = (20, 10), (2, 2)


def press(tools: SimpleNamespace, name: str, place: tuple[int, int] = IN_RIGHT) -> None:
    tools.mouse.move_to(place)
    key = tools.correction.piece_actions.act_while_held(ACTIONS[name])
    next(key)
    next(key, None)


def rename(tools: SimpleNamespace, number: int, place: tuple[int, int] = IN_RIGHT) -> None:
    tools.mouse.move_to(place)
    key = tools.correction.piece_actions.rename_while_held(number)
    next(key)
    next(key, None)


def test_delete_is_shown_then_done_on_this_slice_only(lungs: SimpleNamespace) -> None:
    lungs.mouse.move_to(IN_RIGHT)
    key = lungs.correction.piece_actions.act_while_held(ACTIONS["delete"])
    next(key)
    assert lungs.editor.preview.drawing.colours.shape[:2] == (28, 20)
    assert np.array_equal(lungs.layer.data, lungs.labels)
    next(key, None)
    assert lungs.editor.preview.drawing is None
    expected = lungs.labels.copy()
    expected[1][expected[1] == 1] = 0
    assert np.array_equal(lungs.layer.data, expected)
    assert lungs.said[-1] == "deleted right lung: 560 px"


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["thread", "at once"])
def test_in_the_volume_the_piece_of_all_slices_goes_and_the_slice_is_shown_at_once(
    lungs: SimpleNamespace, limit: int, monkeypatch: pytest.MonkeyPatch, qtbot: object
) -> None:
    monkeypatch.setattr(editor, "MAX_VOXELS_AT_ONCE", limit)
    lungs.mouse_tools.set_in_volume(True)
    lungs.mouse.move_to(IN_RIGHT)
    key = lungs.correction.piece_actions.act_while_held(ACTIONS["delete"])
    next(key)
    assert lungs.editor.preview.drawing.colours.shape[:2] == (28, 20)
    next(key, None)
    qtbot.waitUntil(lambda: not (lungs.layer.data == 1).any())
    assert np.array_equal(lungs.layer.data == 2, lungs.labels == 2)
    assert lungs.said[-1] == "deleted right lung: 2,240 voxels"
    lungs.case_controller.undo()
    assert np.array_equal(lungs.layer.data, lungs.labels)


def test_a_stroke_during_the_thread_drops_what_it_computes(
    lungs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, qtbot: object
) -> None:
    monkeypatch.setattr(editor, "MAX_VOXELS_AT_ONCE", 0)
    lungs.mouse_tools.set_in_volume(True)
    press(lungs, "delete")
    lungs.layer.paint((1, 20, 30), 1)
    assert "the labels changed" in lungs.said[-1]
    qtbot.wait(100)
    assert (lungs.layer.data == 1).any()


def test_what_a_thread_computes_is_accepted_too(
    lungs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, qtbot: object
) -> None:
    monkeypatch.setattr(editor, "MAX_VOXELS_AT_ONCE", 0)
    lungs.mouse_tools.set_in_volume(True)
    rename(lungs, 2)
    draft = lungs.editor.session.draft
    with qtbot.waitSignal(lungs.case_controller.decided):
        lungs.case_controller.accept()
    assert np.array_equal(draft.labels, np.array([0, 2, 2])[lungs.labels])


def test_a_digit_gives_the_piece_another_label(lungs: SimpleNamespace) -> None:
    rename(lungs, 2)
    assert lungs.said[-1] == "right lung is now left lung: 560 px"
    assert not (lungs.layer.data[1] == 1).any()
    rename(lungs, 3)
    assert lungs.said[-1] == "Lungs (CT, X-ray) has 2 labels; there is no label 3."


def test_a_digit_of_a_french_keyboard_is_released_though_shift_is_up_before_it(
    lungs: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_places.sys, "platform", "linux")
    canvas = QWidget()
    qtbot.addWidget(canvas)
    lungs.correction.watch([canvas])
    lungs.mouse.move_to(IN_RIGHT)
    for kind, key, modifiers in (
        (QEvent.Type.KeyPress, Qt.Key.Key_2, Qt.KeyboardModifier.ShiftModifier),
        (QEvent.Type.KeyRelease, Qt.Key.Key_Eacute, Qt.KeyboardModifier.NoModifier),
    ):
        QApplication.sendEvent(canvas, QKeyEvent(kind, key, modifiers, 11, 11, 0, ""))
    assert lungs.said[-1] == "right lung is now left lung: 560 px"


def test_the_label_that_the_model_finds_most_likely_next_is_one_key(tools: SimpleNamespace) -> None:
    labels = phantom_labels()
    open_predicted(tools, phantom(), "covid", labels)
    tools.viewer.layers.selection.active = tools.editor.layer
    press(tools, "likely")
    assert tools.said[-1] == "ground-glass is now consolidation: 560 px"  # the next in the list: no model was asked
    tools.case_controller.undo()
    probability = np.zeros((4, *labels.shape), np.uint8)
    probability[1], probability[3], probability[2] = 120, 90, 20
    tools.editor.set_model_maps(probability, None)
    press(tools, "likely")
    assert tools.said[-1] == "ground-glass is now pleural effusion: 560 px"


def test_objects_have_no_other_name(nuclei: SimpleNamespace) -> None:
    rename(nuclei, 1, (15, 3))
    assert "numbered objects" in nuclei.said[-1]
    press(nuclei, "likely", (15, 3))
    assert nuclei.said[-1] == "Nuclei (H&E) has no other labels that a piece could have."
    assert not nuclei.editor.session.draft.has_records


@pytest.mark.parametrize(("place", "reason"), [
    (IN_BACKGROUND, "there is no label under the cursor"),
    ((-5, 3), "the mouse is outside the image"),
])  # fmt: skip
def test_without_a_piece_the_reason_is_said(lungs: SimpleNamespace, place: tuple[int, int], reason: str) -> None:
    press(lungs, "delete", place)
    assert reason in lungs.said[-1]
    assert not lungs.editor.session.draft.has_records


def test_without_a_case_the_reason_is_said(tools: SimpleNamespace) -> None:
    next(tools.correction.piece_actions.act_while_held(ACTIONS["grow"]))
    assert tools.said[-1] == editor.NO_CASE


def test_grow_and_shrink_can_be_repeated_and_reversed(lungs: SimpleNamespace) -> None:
    for name in ("grow", "grow", "shrink", "shrink"):
        press(lungs, name)
        assert "lung by 1 mm" in lungs.said[-1]
    corners = np.count_nonzero(lungs.layer.data != lungs.labels)
    assert corners <= 8  # a ball cuts the corners of a square


def test_no_outline_step_changes_what_a_person_painted(lungs: SimpleNamespace) -> None:
    lungs.layer.brush_size = 1
    lungs.layer.paint((1, 20, 26), 1)  # a voxel of the border on the background side
    lungs.layer.paint((1, 10, 8), 0)  # a notch that a person made
    press(lungs, "grow")
    press(lungs, "shrink")
    press(lungs, "holes")
    assert lungs.layer.data[1, 20, 26] == 1
    assert lungs.layer.data[1, 10, 8] == 0


def test_specks_and_swapped_labels(lungs: SimpleNamespace) -> None:
    actions = lungs.correction.piece_actions
    assert actions.list_speck_sizes()[0] == (3.0, "below 3 mm²")
    assert actions.list_swaps() == [(1, 2, "right lung ↔ left lung")]
    actions.begin_swapping(1, 2)
    assert np.array_equal(lungs.layer.data, lungs.labels)
    actions.commit()
    assert np.array_equal(lungs.layer.data[1], np.array([0, 2, 1])[lungs.labels[1]])
    actions.begin_removing_specks(3.0)
    assert lungs.said[-1] == "no piece is below 3 mm²."
    lungs.mouse_tools.set_in_volume(True)
    assert actions.list_speck_sizes()[1] == (10.0, "below 10 mm³")


def test_specks_of_a_slide_are_no_whole_nuclei(tools: SimpleNamespace) -> None:
    labels = make_nuclei()
    open_predicted(tools, replace(stained(labels), spacing_mm=(0.00025, 0.00025)), "nuclei", labels)
    actions = tools.correction.piece_actions
    (size, text), *_ = actions.list_speck_sizes()
    assert text == "below 3 µm²"
    actions.begin_removing_specks(size)
    assert tools.said[-1] == "no piece is below 3 µm²."


def test_no_size_of_specks_is_smaller_than_a_pixel_of_a_finer_scan(tools: SimpleNamespace) -> None:
    labels = make_nuclei()
    open_predicted(tools, replace(stained(labels), spacing_mm=(0.015, 0.015)), "nuclei", labels)
    assert tools.correction.piece_actions.list_speck_sizes()[0] == (3.0, "below 3 mm²")


def test_a_nucleus_is_deleted_and_the_others_stay(nuclei: SimpleNamespace) -> None:
    press(nuclei, "delete", (3, 3))
    assert nuclei.said[-1] == f"deleted nucleus {FIRST_NUMBER}: 64 px"
    assert np.array_equal(nuclei.layer.data[8:], nuclei.labels[8:])
    assert not nuclei.layer.data[:8, :8].any()


def test_a_committed_edit_of_a_thread_is_done_though_another_tool_begins(
    lungs: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor, "MAX_VOXELS_AT_ONCE", 0)
    lungs.mouse_tools.set_in_volume(True)
    press(lungs, "delete")
    lungs.editor.drop_preview()  # the window loses the keyboard
    press(lungs, "delete", (20, 45))
    lungs.editor.close()
    assert not lungs.editor.session.draft.labels.any()


def test_a_preview_says_so_and_is_dropped_when_the_labels_change(lungs: SimpleNamespace) -> None:
    lungs.mouse.move_to(IN_RIGHT)
    key = lungs.correction.piece_actions.act_while_held(ACTIONS["delete"])
    next(key)
    assert lungs.said[-1] == "preview: deleted right lung: 560 px"
    lungs.layer.paint((1, 20, 30), 2)
    next(key, None)
    assert (lungs.layer.data[1] == 1).any()


def test_an_edit_waits_for_the_end_of_a_stroke(lungs: SimpleNamespace, qtbot: object) -> None:
    lungs.mouse.move_to(IN_RIGHT)
    key = lungs.correction.piece_actions.act_while_held(ACTIONS["delete"])
    next(key)
    with lungs.layer.block_history():
        lungs.layer.paint((1, 20, 10), 2)
        next(key, None)
        qtbot.wait(120)
        assert not lungs.editor.session.draft.has_records
    assert "the labels changed" in lungs.said[-1]
    assert np.array_equal(lungs.layer.data, lungs.editor.session.draft.labels)


def test_keys_over_a_piece_do_nothing_in_another_view(lungs: SimpleNamespace) -> None:
    lungs.viewer.dims.order = (1, 0, 2)
    press(lungs, "delete")
    assert lungs.said[-1] == editor.NO_SLICES
    assert not lungs.editor.session.draft.has_records


def test_shift_and_a_digit_is_no_tool_in_a_field(lungs: SimpleNamespace, qtbot: QtBot) -> None:
    """A French keyboard needs Shift for the number of a slice."""
    canvas = QWidget()
    field = QLineEdit(canvas)
    qtbot.addWidget(canvas)
    lungs.correction.watch([canvas, field])
    lungs.mouse.move_to(IN_RIGHT)
    shift = Qt.KeyboardModifier.ShiftModifier
    for widget, expected in ((field, 1), (canvas, 2)):
        for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            QApplication.sendEvent(widget, QKeyEvent(kind, Qt.Key.Key_2, shift, 11, 19, 0, "2"))
        assert lungs.layer.data[1][IN_RIGHT] == expected
    assert field.text() == "2"
