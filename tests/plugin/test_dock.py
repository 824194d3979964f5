"""The whole dock on napari's viewer model: what a person sees and presses, without a canvas."""

import re
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import notification_manager
from plugin_phantoms import N_RIGHT, RunFolder, Texts, phantom, write_phantom, write_version
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_medseg.core import formats
from napari_medseg.core.records import Case, Correction, Run, RunState
from napari_medseg.plugin.case_table.table_model import NAMES
from napari_medseg.plugin.controllers import labels_tools, open_case
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.export_form import ExportChoice
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.task_form import NAME_COLUMN, TaskDialog
from napari_medseg.plugin.reader_writer import make_layer_data
from napari_medseg.workflow import cases, retrain, review
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.hold_out import held_out_groups
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import CANCEL_FILE, Compared, EpochEnded, Event, Failed, Finished, Started


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock]) -> Dock:
    return make_dock(ws)


def drop(dock: Dock, qtbot: QtBot, tmp_path: Path, *numbers: int) -> None:
    n_before = len(dock.worklist.rows)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path / "in", number) for number in numbers])
    qtbot.waitUntil(lambda: len(dock.worklist.rows) == n_before + len(numbers))
    qtbot.waitUntil(lambda: all(row.state != "new" for row in dock.worklist.rows))
    qtbot.waitUntil(lambda: dock.prediction_queue.running_request is None)


def accept_all(dock: Dock, qtbot: QtBot) -> None:
    while (row := next((row for row in dock.worklist.rows if not row.is_decided), None)) is not None:
        dock.worklist.open(row.case)
        qtbot.waitUntil(
            lambda row=row: (
                dock.case_controller.current is not None and dock.case_controller.current.case.id == row.case.id
            )
        )
        qtbot.waitUntil(
            lambda: (
                dock.case_controller.current.labels_layer is not None and dock.prediction_queue.running_request is None
            )
        )
        with qtbot.waitSignal(dock.case_controller.decided):
            dock.review_panel.accept()
        qtbot.waitUntil(
            lambda row=row: next(r for r in dock.worklist.rows if r.case.id == row.case.id).state == "accepted"
        )


def test_accepting_reads_no_list_of_cases_and_the_corrections_once(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2, 3)
    asked: list[str] = []
    connection = dock._workspace.project._connection
    connection.set_trace_callback(asked.append)
    dock.review_panel.accept()
    qtbot.waitUntil(lambda: dock.case_controller.current.case.file_name != "case1")
    qtbot.waitUntil(lambda: dock.case_controller.current.edit_session is not None)
    qtbot.wait(100)
    connection.set_trace_callback(None)
    lists = [sql for sql in asked if "cases_with_side" in sql and "c.id = " not in sql]
    numbers, records = lists  # which cases are accepted, and the one that is new
    assert "spacing_mm" not in numbers
    assert "c.id IN (1)" in records
    assert "LEFT JOIN" not in numbers + records, "the accepted cases only"


def list_states(dock: Dock) -> list[str]:
    """What the column of the states shows, in the order of import."""
    dock.case_panel._unfold.setChecked(True)
    dock.case_panel.list_panel.refresh()
    model, column = dock.case_panel.list_panel.model, NAMES.index("state")
    shown = {model.get_case(row).id: model.index(row, column).data() for row in range(model.rowCount())}
    return [shown[case_id] for case_id in sorted(shown)]


def test_an_empty_dock_says_what_it_waits_for_and_why_buttons_are_grey(dock: Dock) -> None:
    assert dock.case_panel._hint.isVisible()
    assert not dock.case_panel._predict.isEnabled()
    assert "drop a file" in dock.case_panel._predict.toolTip()
    assert not dock.review_panel._accept.isEnabled()
    assert dock.review_panel._accept.toolTip()
    assert not dock.retrain_panel._retrain.isEnabled()
    assert "accept cases" in dock.retrain_panel._retrain.toolTip()
    assert dock.retrain_panel._status.text() == "0 corrections since @1"
    assert not dock.review_panel._export.isEnabled()


def test_a_dropped_case_fills_the_sections(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    assert dock.case_panel._name.text() == "patient 1 case 1"
    assert dock.case_panel._status.text() == "0 of 2 accepted"
    assert not dock.case_panel._hint.isVisible()
    # 28 x 20 pixels of 0.5 x 0.5 mm
    qtbot.waitUntil(lambda: [size.text() for size in dock.labels_panel._sizes.values()] == ["140 mm²", "140 mm²"])
    assert dock.review_panel._accept.isEnabled()
    assert not dock.review_panel._reset.isEnabled()
    assert "Nothing was changed" in dock.review_panel._reset.toolTip()
    assert list_states(dock) == ["○ predicted", "○ predicted"]


def test_sizes_follow_a_stroke(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    layer = dock.case_controller.current.labels_layer
    layer.brush_size = 1
    for column in range(2, 6):
        layer.paint((2, column), 2)
    qtbot.waitUntil(lambda: dock.labels_panel._sizes[2].text() == "141 mm²")
    assert dock.labels_panel._sizes[2].toolTip() == "564 voxels"
    widths = {size.minimumWidth() for size in dock.labels_panel._sizes.values()}
    dock.labels_panel._sizes[1].setText("1,204,338 mm², 72.8 %")
    dock.labels_panel._show_sizes([])
    (wider,) = {size.minimumWidth() for size in dock.labels_panel._sizes.values()}
    assert wider > max(widths), "all rows have one width, so that their buttons stay in line"
    assert "4 vox" in dock.review_panel._status.text()
    assert dock.review_panel._status.text().startswith("saved · 0:0")


def test_a_stroke_made_while_sizes_are_measured_is_measured_too(
    dock: Dock, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(dock, qtbot, tmp_path, 1)
    qtbot.waitUntil(lambda: dock.labels_panel._sizes[2].text() == "140 mm²")
    began, finish = threading.Event(), threading.Event()
    measured = labels_tools.measure_layer

    def measured_slowly(*of: Any) -> Generator[Any]:
        (sizes,) = measured(*of)
        began.set()
        finish.wait()
        yield sizes

    monkeypatch.setattr(labels_tools, "measure_layer", measured_slowly)
    layer = dock.case_controller.current.labels_layer
    layer.brush_size = 1
    layer.paint((2, 2), 2)
    qtbot.waitUntil(began.is_set)
    for column in range(3, 6):
        layer.paint((2, column), 2)
    qtbot.waitUntil(lambda: dock.labels_panel._is_outdated)
    assert dock.labels_panel._sizes[2].text() == "140 mm²", "the first measurement is still under way"
    finish.set()
    qtbot.waitUntil(lambda: dock.labels_panel._sizes[2].text() == "141 mm²")
    assert dock.labels_panel._sizes[2].toolTip() == "564 voxels", "560 and all four strokes"
    assert not dock.labels_panel._is_outdated


def test_a_doubt_that_is_answered_after_the_dock_was_closed_disturbs_nothing(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    drop(dock, qtbot, tmp_path, 1)
    finish = threading.Event()

    def answer() -> Generator[Any]:
        finish.wait()
        yield None

    guests, changes = dock._overlays, []
    guests.compute_and_show(answer(), lambda current, item: pytest.fail("nobody waits for it"))
    worker = guests._worker
    dock.close_down()
    guests.changed.connect(lambda: changes.append(1))
    with qtbot.waitSignal(worker.ended):
        finish.set()
    assert not changes


def test_a_label_is_chosen_by_click_and_by_key(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    layer = dock.case_controller.current.labels_layer
    dock.labels_panel._buttons.button(2).click()
    assert (layer.selected_label, layer.mode) == (2, "paint")
    layer.keymap[next(key for key in layer.keymap if str(key) == "1")](layer)
    assert layer.selected_label == 1
    assert [button.isChecked() for button in dock.labels_panel._buttons.buttons()] == [True, False]
    image_layer = dock.case_controller.current.image_layer
    image_layer.keymap[next(key for key in image_layer.keymap if str(key) == "2")](image_layer)
    assert layer.selected_label == 2
    layer.selected_label = 7
    assert not any(button.isChecked() for button in dock.labels_panel._buttons.buttons())


def test_a_digit_without_a_label_does_nothing_on_any_layer(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    current = dock.case_controller.current
    for layer in (current.labels_layer, current.image_layer):
        for digit in "3456789":
            layer.keymap[next(key for key in layer.keymap if str(key) == digit)](layer)
            assert (current.labels_layer.mode, current.labels_layer.selected_label) == ("pan_zoom", 1), digit
            assert current.image_layer.mode == "pan_zoom", "napari's keys would let the mouse move the image"


def test_a_chosen_label_looks_like_painting_only_while_a_tool_paints(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    layer, button = dock.case_controller.current.labels_layer, dock.labels_panel._buttons.button(1)
    looks = []
    for mode in ("pan_zoom", "paint", "erase", "fill", "pick"):
        layer.mode = mode
        assert button.isChecked(), "it is chosen in all of them"
        looks.append(button.property("paints"))
    assert looks == [False, True, False, True, False]


def test_a_deleted_labels_layer_comes_back_with_the_draft_and_its_tool(
    dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(dock, qtbot, tmp_path, 1)
    controller, viewer = dock.case_controller, dock._viewer
    before = controller.current.labels_layer
    before.paint((2, 2), 1)
    before.mode, before.brush_size = "paint", 7
    viewer.layers.remove(before)
    qtbot.waitUntil(lambda: controller.current.labels_layer in viewer.layers)
    layer = controller.current.labels_layer
    assert (layer.data[2, 2], layer.mode, layer.brush_size, layer.editable) == (1, "paint", 7, True)
    assert "are back: their layer was deleted" in told
    controller.undo()
    assert layer.data[2, 2] == 0
    viewer.layers.clear()
    qtbot.wait(20)
    assert (len(viewer.layers), controller.current) == (0, None), "who removes all means the case"


def test_a_new_task_takes_the_open_image_without_another_drop(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    dock.case_panel.task_selector.new_task_requested.emit()
    (dialog,) = dock.findChildren(TaskDialog)
    assert dialog.kind.value == "grey"
    assert dialog.images.choices == (
        f"the open image: {dock.worklist.rows[0].case.name}",
        "2 images of the last drop",
        "none yet: I will drop some",
    )
    dialog.name.value = "knee"
    dialog.table.item(0, NAME_COLUMN).setText("bone")
    dialog.images.value = "2 images of the last drop"
    dialog.save_button.click()
    qtbot.waitUntil(lambda: dock.case_controller.current.case.task == "knee")
    assert [row.case.file_name for row in dock.worklist.rows] == ["case1", "case2"]
    assert dock.worklist.task.name == "knee"


def test_undo_works_whichever_layer_is_selected(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    viewer = dock._viewer
    layer = dock.case_controller.current.labels_layer
    layer.paint((2, 2), 1)
    viewer.keymap[coerce_keybinding("Ctrl-Z")](viewer)
    assert layer.data[2, 2] == 0
    viewer.keymap[coerce_keybinding("Ctrl-Shift-Z")](viewer)
    assert layer.data[2, 2] == 1


def test_choosing_a_label_before_any_prediction_starts_a_blank_case(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    dock.case_panel._auto.setChecked(False)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([write_phantom(tmp_path, 1)])
    assert dock.case_controller.current.labels_layer is None
    dock.labels_panel.choose_label(0)
    dock.case_controller.current.labels_layer.paint((5, 5), 1)
    assert dock.case_controller.current.state == "draft"


def test_a_new_prediction_on_an_edited_case_asks_first(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    asked = len(dock._workspace.engine.asked)
    dock.case_controller.current.labels_layer.paint((2, 2), 1)
    dock.case_panel._predict.click()
    assert "that you edited keep your labels" in dock.prompt.text
    assert len(dock._workspace.engine.asked) == asked
    dock.prompt.press_answer("Predict")
    qtbot.waitUntil(lambda: len(dock._workspace.engine.asked) == asked + 1)
    qtbot.waitUntil(lambda: not dock.prediction_queue.has_urgent_request)
    assert dock.case_controller.current.labels_layer.data[2, 2] == 1


def test_progress_and_cancel_are_there_while_it_predicts(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    dock._workspace.engine.gate = threading.Event()
    dock.case_panel._predict.click()
    qtbot.waitUntil(lambda: dock.case_panel._progress.isVisible())
    qtbot.waitUntil(lambda: "slice 0 of 2, 1 s left" in dock.case_panel._progress.format())
    dock.case_panel._cancel.click()
    qtbot.waitUntil(lambda: dock.case_panel._predict.isVisible())
    assert dock.case_controller.current.state == "predicted"


def test_accept_reject_and_the_states_in_the_list(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    dock.review_panel._accept.click()
    qtbot.waitUntil(lambda: dock.case_panel._name.text() == "patient 2 case 2")
    dock.review_panel._reject.click()
    qtbot.waitUntil(lambda: list_states(dock) == ["✓ accepted", "✗ rejected"])
    assert not dock.review_panel._accept.isEnabled()
    assert dock.review_panel._export.isEnabled()


def test_accept_and_reject_say_why_they_do_nothing_while_the_next_case_is_read(
    dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    goes_on, read = threading.Event(), open_case.load_image

    def read_slowly(*arguments: Any) -> Generator[Any]:
        goes_on.wait(60)
        yield from read(*arguments)

    monkeypatch.setattr(open_case, "load_image", read_slowly)
    first, other = (row.case for row in dock.worklist.rows)
    assert dock.case_controller.current.case.id == first.id
    assert dock.review_panel._accept.isEnabled()
    dock.case_controller.open(other)
    try:
        for press in (dock.review_panel._accept.click, dock.review_panel._reject.click, dock.review_panel.accept):
            before = len(told)
            press()
            assert len(told) > before, "a grey button would swallow the press"
        assert "being read" in told
    finally:
        goes_on.set()
    qtbot.waitUntil(lambda: dock.case_controller.current.case.id == other.id)
    qtbot.waitUntil(dock.review_panel._accept.isEnabled)
    assert [row.is_decided for row in dock.worklist.rows] == [False, False]


def choose_in_reject_menu(dock: Dock, text: str) -> None:
    button = dock.review_panel._reject
    button.fill_menu()
    next(action for action in button.menu().actions() if action.text().startswith(text)).trigger()


def test_the_reject_menu_keeps_reason_flag_and_note(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    first, panel, changed = dock.worklist.rows[0].case, dock.review_panel, []
    panel.note_changed.connect(changed.append)
    choose_in_reject_menu(dock, "Flag")
    choose_in_reject_menu(dock, "Write a note")
    panel.prompt._reason.setText("vessel or lesion?")
    panel.prompt._reason.returnPressed.emit()
    assert not panel.prompt.isVisible()
    assert panel._status.text().startswith("⚑✎")
    assert "flagged: ask a colleague; vessel or lesion?" in panel._status.toolTip()
    row = dock.worklist.case_list.get_row(first.id)
    assert (row.note.is_flagged, row.note.note) == (True, "vessel or lesion?"), "the list follows at once"
    dock.case_commands.set_flagged([first], is_flagged=False)
    qtbot.waitUntil(lambda: panel._status.text().startswith("✎"))  # a command of the list is shown in the dock
    notes.set_flag(dock._workspace, first, True)
    choose_in_reject_menu(dock, "Reject: motion")
    qtbot.waitUntil(lambda: dock.case_panel._name.text() == "patient 2 case 2")
    note = notes.get_case_note(dock._workspace, first)
    assert (note.reason, note.is_flagged, note.note) == ("motion or metal artefacts", True, "vessel or lesion?")
    assert changed == [first] * 3
    assert not panel._status.text().startswith("⚑"), "the flag is of the other case"
    choose_in_reject_menu(dock, "Reject for another")
    assert not panel.prompt._buttons.itemAt(0).widget().isEnabled()
    panel.prompt._reason.setText("a phantom")
    panel.prompt.press_answer("Reject")
    qtbot.waitUntil(lambda: all(row.state == "rejected" for row in dock.worklist.rows))
    dock.worklist.open(first)
    qtbot.waitUntil(lambda: dock.case_controller.current.case.id == first.id)
    panel._reject.fill_menu()
    entries = [action.text() for action in panel._reject.menu().actions()]
    assert "Reject: a phantom" in entries, "what was typed is offered again"
    assert "Change the note…" in entries
    assert panel._status.toolTip().startswith("flagged: ask a colleague; motion or metal artefacts; vessel or lesion?")


def test_only_one_of_five_groups_is_held_out_and_can_be_released(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    held = [row.case for row in dock.worklist.rows if row.case.held_out]
    assert len(held) == 1
    dock.case_commands.set_held_out([held[0].group], False)
    assert not any(row.case.held_out for row in dock.worklist.rows)
    assert "used for training from now on" in dock.prompt.text
    dock.prompt.press_answer("Undo")
    assert [row.case for row in dock.worklist.rows if row.case.held_out] == held


def test_the_badge_and_the_first_accepted_case_say_that_it_is_held_out(
    dock: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    held = next(row.case for row in dock.worklist.rows if row.case.held_out)
    dock.worklist.open(held)
    qtbot.waitUntil(dock.case_panel._held_out.isVisible)
    assert "never saw" in dock.case_panel._held_out.toolTip()
    dock.case_panel._held_out.click()
    assert "never saw" in dock.prompt.text
    dock.prompt.press_answer("OK")
    qtbot.waitUntil(dock.review_panel._accept.isEnabled)
    records = notification_manager.records
    records.clear()  # those of other tests hold projects that are closed
    dock.review_panel.accept()
    said = f"{held.name} is accepted, but it does not count"
    qtbot.waitUntil(lambda: any(said in record.message for record in records))
    message = next(record for record in reversed(records) if said in record.message)
    dict(message.actions)["Use it for training"]()
    assert not any(row.case.held_out for row in dock.worklist.rows)
    qtbot.waitUntil(lambda: not dock.case_panel._held_out.isVisible())


def test_the_share_of_the_hold_out_is_chosen_before_work_begins(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    dock.hold_out.show_form()
    (dialog,) = dock.findChildren(FormDialog)
    dialog.form.share.value = 0
    assert "those that you add" in dialog.form.preview.value
    dialog.submit_button.click()
    drop(dock, qtbot, tmp_path, 1, 2)
    assert not any(row.case.held_out for row in dock.worklist.rows)


def read_groups(dock: Dock) -> list[str]:
    clear = dock._workspace.project.identities.read_groups()
    return [clear[row.case.group] for row in dock.worklist.rows]


def test_groups_are_changed_in_a_form(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    assert read_groups(dock) == ["case1", "case2"]
    dock.case_commands.groups_requested.emit(None)
    (dialog,) = dock.findChildren(FormDialog)
    dialog.form.text.value = "{patient}#"
    assert dialog.form.preview.value.startswith("1 patient: case (2); 0 held out; 2 of 2 cases change")
    dialog.submit_button.click()
    qtbot.waitUntil(lambda: read_groups(dock) == ["case", "case"])
    dock.case_commands.groups_requested.emit(dock.worklist.rows[1].case)
    title = f"Patient of {dock.worklist.rows[1].case.name}"
    dialog = next(form for form in dock.findChildren(FormDialog) if form.windowTitle() == title)
    dialog.form.text.value = "another"
    dialog.submit_button.click()
    qtbot.waitUntil(lambda: read_groups(dock) == ["case", "another"])


def test_the_map_of_doubt_comes_and_goes(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    viewer = dock._viewer
    qtbot.waitUntil(lambda: not dock.guidance.maps.why_not)
    asked = list(dock._workspace.engine.asked)
    dock.labels_panel.toggle_uncertainty()
    qtbot.waitUntil(lambda: "unsure: patient 1 case 1" in viewer.layers)
    assert dock._workspace.engine.asked == asked, "the map is kept with the prediction"
    assert dock.labels_panel.is_uncertainty_shown
    assert viewer.layers.selection.active is dock.case_controller.current.labels_layer
    dock.labels_panel.toggle_uncertainty()
    assert "unsure: patient 1 case 1" not in viewer.layers
    dock.labels_panel.toggle_uncertainty()
    qtbot.waitUntil(lambda: "unsure: patient 1 case 1" in viewer.layers)
    dock.case_controller.close_case()
    assert "unsure: patient 1 case 1" not in viewer.layers
    assert not dock.labels_panel.is_uncertainty_shown


def test_export_writes_what_reads_back_on_the_same_grid(dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    drop(dock, qtbot, tmp_path, 1)
    labels = dock.case_controller.current.labels_layer.data.copy()
    accept_all(dock, qtbot)
    dock.exporter.write("lungs", ExportChoice(".tif", tmp_path / "out"))
    qtbot.waitUntil(lambda: "Exported 3 files" in told)
    image = formats.read(tmp_path / "in" / "case1.tif")
    assert np.array_equal(formats.read_labels(tmp_path / "out" / "patient-1_case-1_labels.tif", image), labels)
    assert (tmp_path / "out" / "provenance.json").exists()
    assert (tmp_path / "out" / "measurements.csv").exists()


def test_a_running_export_is_cancelled_at_once_and_leaves_nothing_half(
    dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(dock, qtbot, tmp_path, 1)
    accept_all(dock, qtbot)
    begun, goes_on, write = threading.Event(), threading.Event(), formats.write_labels

    def write_slowly(*arguments: Any) -> None:
        begun.set()
        goes_on.wait(60)
        write(*arguments)

    monkeypatch.setattr(formats, "write_labels", write_slowly)
    try:
        dock.exporter.write("lungs", ExportChoice(".tif", tmp_path / "out"))
        assert dock.exporter.isVisible()
        assert begun.wait(60)
        dock.exporter.cancel_button.click()
        assert not dock.exporter.isVisible()
        dock.exporter.write("lungs", ExportChoice(".tif", tmp_path / "out"))
        assert "another export is still being written" in told
    finally:
        goes_on.set()
    qtbot.waitUntil(lambda: "The export was cancelled" in told)
    assert not (tmp_path / "out").exists()
    qtbot.waitUntil(lambda: dock.exporter._worker is None)  # its end comes a turn after its message
    dock.exporter.write("lungs", ExportChoice(".tif", tmp_path / "out"))
    qtbot.waitUntil(lambda: "Exported 3 files" in told)


def test_an_export_that_is_refused_says_why(dock: Dock, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    dock.exporter.write("lungs", ExportChoice(".tif", tmp_path / "out"))
    qtbot.waitUntil(lambda: "nothing is accepted yet" in told)
    assert not (tmp_path / "out").exists()


def test_what_was_left_yesterday_is_offered(
    ws: Workspace,
    make_dock: Callable[[Workspace], Dock],
    open_workspace: Callable[[], Workspace],
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    dock = make_dock(ws)
    drop(dock, qtbot, tmp_path, 1, 2)
    dock.case_controller.current.labels_layer.paint((2, 2), 1)
    dock.close_down()
    again = make_dock(open_workspace())
    assert "Unfinished draft: patient 1 case 1" in again.prompt.text
    again.prompt.press_answer("Continue it")
    qtbot.waitUntil(lambda: again.case_controller.current is not None)
    assert again.case_controller.current.labels_layer.data[2, 2] == 1
    again.review_panel._accept.click()
    qtbot.waitUntil(lambda: again.case_panel._name.text() == "patient 2 case 2")
    again.close_down()
    third = make_dock(open_workspace())
    assert "1 case is not reviewed yet" in third.prompt.text
    third.worklist.step(+1)
    qtbot.waitUntil(lambda: third.case_controller.current is not None)
    assert third.prompt.text == "", "who opens a case has chosen"


def compared(name: str, old: float, new: float) -> Compared:
    return Compared(name, "corrections", old, new, {}, {})


BETTER = [compared(name, 0.80 + 0.01 * n, 0.86 + 0.01 * n + 0.002 * n) for n, name in enumerate("abcde")]
WORSE = [compared("a", 0.80, 0.86), compared("b", 0.81, 0.60), compared("c", 0.82, 0.89)]


def ended(*rows: Compared) -> tuple[Event, ...]:
    return (*rows, Finished(2, 0.9, False, 9.0))


def test_a_run_that_is_under_way_is_found_again_with_its_whole_curve(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    run = RunFolder(ws)
    began = time.time()
    run.say(Started(4, 16, 1, 3, "cpu", 90.0, began))
    dock = make_dock(ws)
    assert dock.run_monitor.is_running
    # a busy machine takes a second or more to build the dock
    assert re.fullmatch(r"(90|8\d) s left, 4 corrections, 16 replayed", dock.retrain_panel.progress.status_label.text())
    run.say(EpochEnded(1, 9, 0.5, 0.7, True, 0.0, 40.0), EpochEnded(2, 9, 0.4, 0.8, True, 0.0, 3600.0))
    qtbot.waitUntil(lambda: len(dock.retrain_panel.progress.curve.epochs) == 2)
    assert re.fullmatch(r"3\d* s left, epoch 2 of ~9", dock.retrain_panel.progress.status_label.text())
    assert not dock.retrain_panel._retrain.isEnabled()
    assert "under way" in dock.retrain_panel._retrain.toolTip()
    dock.retrain_panel.progress.cancel_button.click()
    assert (run.folder / CANCEL_FILE).exists()


def test_a_better_version_goes_live_with_one_click_and_can_be_rolled_back(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    run = RunFolder(ws)
    dock = make_dock(ws)
    run.say(*ended(*BETTER))
    qtbot.waitUntil(lambda: dock.retrain_panel.decision.table.isVisible())
    assert [row.case for row in dock.retrain_panel.decision.table.rows] == list("abcde")
    assert dock.retrain_panel.decision.verdict.text() == "Better: 0.820 -> 0.884"
    assert dock.retrain_panel.decision.promote_button.property("main")
    assert "change +0.064 (90% interval +0.059 to +0.069)" in dock.retrain_panel.decision.figures.text()
    assert dock.retrain_panel.decision.promote_button.text() == "Promote lungs-unet@2"
    dock.retrain_panel.decision.promote_button.click()
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@2"
    assert dock.case_panel._model.currentText() == "lungs-unet@2 live"
    assert dock.retrain_panel._hint_page.isVisible()
    (action,) = dock.retrain_panel.versions.button.menu().actions()
    assert action.text() == "Make lungs-unet@1 live again"
    action.trigger()
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1"
    assert dock.case_panel._model.currentText() == "lungs-unet@1 live"


def test_a_worse_version_needs_a_typed_reason_that_goes_on_its_card(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    run = RunFolder(ws)
    run.say(*ended(*WORSE))
    dock = make_dock(ws)
    qtbot.waitUntil(lambda: dock.retrain_panel.decision.table.isVisible())
    assert dock.retrain_panel.decision.table.rows[0].case == "b", "the worst change is on top"
    dock.retrain_panel.decision.promote_button.click()
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1"
    assert "anyway?" in dock.retrain_panel.decision.prompt.text
    dock.retrain_panel.decision.prompt._reason.setText("children only")
    dock.retrain_panel.decision.prompt.press_answer("Promote anyway")
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@2"
    assert ws.registry.get_card("lungs-unet@2").lineage.promotion_reason == "children only"


def test_a_comparison_that_waits_outlives_another_version_that_is_made_live_by_hand(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    other = ws.registry.add(write_version(tmp_path / "other", 7))
    run = RunFolder(ws)
    run.say(*ended(*BETTER))
    dock = make_dock(ws)
    panel = dock.retrain_panel
    qtbot.waitUntil(lambda: panel.decision.table.isVisible())
    assert not panel._retrain.isEnabled()
    assert "promote it or keep the old one" in panel._retrain.toolTip()
    panel.versions.chosen.emit(other.id, "tried by hand")
    assert ws.registry.get_live_card("lungs").id == other.id
    qtbot.waitUntil(lambda: panel.decision.table.isVisible())
    assert f"Compared with lungs-unet@1; {other.id} is live now." in panel.decision.figures.text()
    panel.decision.keep_button.click()
    assert ws.registry.get_live_card("lungs").id == other.id
    assert "promote it or keep" not in panel._retrain.toolTip()


def test_keeping_the_old_version_leaves_it_live(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    run = RunFolder(ws)
    run.say(*ended(*BETTER))
    dock = make_dock(ws)
    qtbot.waitUntil(lambda: dock.retrain_panel.decision.table.isVisible())
    dock.retrain_panel.decision.keep_button.click()
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1"
    assert ws.project.get_record(Run, run.run.id).state is RunState.KEPT_OLD
    assert any("Kept, and not live: lungs-unet@2" in text for text in told)
    (action,) = dock.retrain_panel.versions.button.menu().actions()
    assert action.text() == "Promote lungs-unet@2, which never was live…"
    action.trigger()
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@1", "it asks why"
    dock.retrain_panel.versions.prompt._reason.setText("better on our scanner")
    dock.retrain_panel.versions.prompt.press_answer("Promote")
    assert ws.registry.get_live_card("lungs").id == "lungs-unet@2"
    assert ws.registry.get_card("lungs-unet@2").lineage.promotion_reason == "better on our scanner"
    assert "From now on lungs-unet@2 predicts: it is live." in told


def test_a_failed_run_is_one_message_and_can_be_tried_again(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    run = RunFolder(ws)
    dock = make_dock(ws)
    run.say(Failed("no image could be read. Put them back."))
    qtbot.waitUntil(lambda: not dock.run_monitor.is_running)
    assert len([text for text in told if "no image could be read" in text]) == 1
    assert "under way" not in dock.retrain_panel._retrain.toolTip()


def test_a_row_opens_its_case_with_both_labels(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path
) -> None:
    dock = make_dock(ws)
    drop(dock, qtbot, tmp_path, 1, 2)
    accept_all(dock, qtbot)
    run = RunFolder(ws)
    case = dock.worklist.rows[0].case
    row = retrain.ComparisonRow(case, "", compared("case1", 0.8, 0.9))
    dock.retrain_panel.row_chosen.emit(run.run, row)
    viewer = dock._viewer
    qtbot.waitUntil(
        lambda: (
            [layer.name for layer in viewer.layers][2:]
            == ["old lungs-unet@1: patient 1 case 1", "new: patient 1 case 1"]
        )
    )
    assert dock.case_controller.current.case.id == case.id
    assert dock.case_controller.current.state == "accepted"
    assert np.allclose(viewer.layers[2].colormap.map(np.array([1])), 1.0), "the old one is white"
    dock.case_controller.close_case()
    assert len(viewer.layers) == 0


def test_minutes_at_work_go_into_the_draft(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    clock = [0.0]
    dock.idle_timer._clock = lambda: clock[0]
    dock.idle_timer.take_active_s()
    dock.idle_timer.record_input()
    clock[0] += 7
    dock.review_panel._on_tick()
    assert "0:07 · " in dock.review_panel._status.text()
    assert dock.case_controller.current.edit_session.draft.seconds == pytest.approx(7)
    dock.review_panel._accept.click()
    qtbot.waitUntil(lambda: bool(cases.list_current_corrections(dock._workspace, "lungs")))
    ((_, correction),) = cases.list_current_corrections(dock._workspace, "lungs")
    assert correction.seconds == pytest.approx(7, abs=1)


def test_closing_saves_the_draft_and_the_time_whatever_part_qt_deleted_before(
    dock: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    drop(dock, qtbot, tmp_path, 1)
    ws, current = dock._workspace, dock.case_controller.current
    clock = [0.0]
    dock.idle_timer._clock = lambda: clock[0]
    dock.idle_timer.take_active_s()
    dock.idle_timer.record_input()
    clock[0] += 7
    dock.meter.open()
    current.labels_layer.data[2, 2] = 1  # without an event, as from the console
    for part in (dock.exporter, dock.meter._dock, dock.views.planes, dock.views.planes.strip):
        part.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    dock.close_down()
    assert dock.case_controller.current is None
    draft = review.open_review(ws, current.case, None)
    assert draft.labels[2, 2] == 1
    assert draft.seconds == pytest.approx(7, abs=1)
    draft.close()


def test_a_part_that_cannot_be_closed_stops_no_other(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)

    def fail() -> None:
        raise RuntimeError("wrapped C/C++ object has been deleted")

    dock.guidance.close = fail
    with pytest.raises(RuntimeError, match="wrapped"):
        dock.close_down()
    assert dock.case_controller.current is None
    del dock.guidance.close


def test_the_viewers_keys_are_free_again_after_the_dock(dock: Dock) -> None:
    viewer: Any = dock._viewer
    assert viewer.keymap
    dock.close_down()
    assert not viewer.keymap


def test_layers_that_were_there_before_the_dock_are_taken(ws: Workspace, qtbot: QtBot) -> None:
    viewer = ViewerModel()
    data, arguments, _ = make_layer_data(phantom(1))
    viewer.add_image(data, **arguments)
    dock = Dock(viewer, ws)
    qtbot.addWidget(dock)
    qtbot.waitUntil(
        lambda: [layer.name for layer in viewer.layers] == ["patient 1 case 1", "lungs: patient 1 case 1 (predicted)"]
    )
    assert dock.case_controller.current.case.file_name == "slice 1"
    assert np.count_nonzero(viewer.layers[1].data == 1) == N_RIGHT
    np.testing.assert_array_equal(viewer.layers[0].data, data)
    assert [case.file_name for case in ws.project.read_records(Case)] == ["slice 1"]
    dock.close_down()


def test_findings_stand_above_the_button_and_go_to_their_place(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2, 3)
    assert "0 patients; the comparison needs 5." in dock.retrain_panel._hint_page.text()
    dock.case_controller.current.labels_layer.brush_size = 1
    for place in ((2, 2), (2, 60)):
        dock.case_controller.current.labels_layer.paint(place, 1)
    accept_all(dock, qtbot)
    found = dock.retrain_panel.findings
    qtbot.waitUntil(lambda: found.isVisible() and len(found.rows) == 3)
    assert [(row.case.file_name, row.finding.kind) for row in found.rows if row.finding.kind != "unseen"] == [
        ("case1", "specks")
    ]
    assert found._title.text() == "Check before training: 3 findings"
    assert dock.retrain_panel._retrain.isEnabled()
    assert not found._buttons.isVisible()
    index = next(n for n, row in enumerate(found.rows) if row.finding.kind == "specks")
    assert dock.case_controller.current.case.file_name != "case1"
    found._list.itemClicked.emit(found._list.item(index))
    found._list.setCurrentRow(index)
    qtbot.waitUntil(lambda: dock.case_controller.current.case.file_name == "case1")
    centres = [dock._viewer.scene.camera.center[-2:]]
    assert found._go.text() == "Go to 2 of 2"
    found._go.click()
    centres.append(dock._viewer.scene.camera.center[-2:])
    assert sorted(centres) == [(1.0, 1.0), (1.0, 30.0)], "0.5 mm per pixel"


def test_a_finding_is_mended_in_its_case_as_one_step_and_one_that_is_right_does_not_come_back(
    dock: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    dock.case_controller.current.labels_layer.brush_size = 1
    dock.case_controller.current.labels_layer.paint((2, 2), 1)
    accept_all(dock, qtbot)
    found = dock.retrain_panel.findings
    qtbot.waitUntil(lambda: {row.finding.kind for row in found.rows} == {"specks", "unseen"})

    def choose(kind: str) -> None:
        index = next(n for n, row in enumerate(found.rows) if row.finding.kind == kind)
        found._list.setCurrentRow(index)
        found._list.itemClicked.emit(found._list.item(index))

    choose("unseen")
    assert not found._fix.isEnabled()
    assert "No tool" in found._fix.toolTip()
    found._right.click()
    assert [row.finding.kind for row in found.rows] == ["specks"]
    choose("specks")
    assert found._fix.text() == "Remove specks"
    found._fix.click()
    qtbot.waitUntil(lambda: dock.case_controller.current.edit_session is not None)
    controller = dock.case_controller
    assert (controller.current.case.file_name, controller.current.labels_layer.data[2, 2]) == ("case1", 0)
    assert len(cases.list_current_corrections(dock._workspace, "lungs")) == 2, "nothing is corrected behind the back"
    controller.undo()
    assert controller.current.labels_layer.data[2, 2] == 1
    controller.redo()
    qtbot.waitUntil(dock.review_panel._accept.isEnabled)
    with qtbot.waitSignal(controller.decided):
        dock.review_panel.accept()
    qtbot.waitUntil(lambda: "specks" not in [row.finding.kind for row in found.rows])
    assert len(dock._workspace.project.read_records(Correction)) == 3


def test_the_list_of_findings_ends_with_the_last_one_that_is_right(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1)
    accept_all(dock, qtbot)
    found, changes = dock.retrain_panel.findings, []
    qtbot.waitUntil(lambda: [row.finding.kind for row in found.rows] == ["unseen"])
    found.changed.connect(lambda: changes.append(1))
    found._list.setCurrentRow(0)
    found._right.click()
    assert found.rows == []
    assert found.isHidden()
    assert len(changes) == 1, "each change lets the panel check again"
    dock.retrain_panel.refresh()
    assert len(changes) == 1


def test_the_end_of_a_run_is_told_whatever_task_is_in_view_and_leads_to_the_decision(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, told: Texts
) -> None:
    run = RunFolder(ws)
    dock = make_dock(ws)
    run.say(Started(4, 16, 1, 3, "cpu", 90.0, time.time()))
    dock.worklist.choose_task("nuclei")
    dock.retrain_panel.fold(True)
    qtbot.waitUntil(lambda: "s left, Lungs (CT, X-ray)" in dock.retrain_panel._status.text())
    run.say(*ended(*WORSE))
    qtbot.waitUntil(lambda: "The training for Lungs (CT, X-ray) has ended" in told)
    (text,) = [text for text in told if "has ended" in text]
    assert text.startswith("Worse: 0.810 -> 0.783.")
    assert not dock.retrain_panel.decision.isVisible(), "another task is in view"
    dock.retrain_panel.run_requested.emit("lungs")
    dock.retrain_panel.fold(False)
    qtbot.waitUntil(dock.retrain_panel.decision.isVisible)
    decision = dock.retrain_panel.decision
    assert (decision.keep_button.property("main"), decision.promote_button.property("main")) == (True, False)
    assert len([text for text in told if "has ended" in text]) == 1, "said once"


def test_a_run_of_another_task_that_ended_while_the_window_was_closed_is_told(
    ws: Workspace, make_dock: Callable[[Workspace], Dock], told: Texts
) -> None:
    run = RunFolder(ws)
    run.say(*ended(*BETTER))
    ws.project.set_run_state(run.run, RunState.FINISHED)
    dock = make_dock(ws)
    dock.worklist.choose_task("nuclei")
    before = len(told)
    dock.retrain_panel.announce_waiting_runs()
    assert [text.split(".")[0] for text in list(told)[before:]] == ["Better: 0"]


def test_a_copy_of_a_hold_out_image_is_listed_before_a_run(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    drop(dock, qtbot, tmp_path, 1, 2)
    again = replace(phantom(1), name="again", group="another", spacing_mm=(0.7, 0.7))
    formats.write_image(tmp_path / "in" / "again.tif", again)
    with qtbot.waitSignal(dock.worklist.importer.finished):
        dock.worklist.importer.read([tmp_path / "in" / "again.tif"])
    qtbot.waitUntil(lambda: all(row.state != "new" for row in dock.worklist.rows))
    accept_all(dock, qtbot)
    first = dock.worklist.rows[0].case
    for row in dock.worklist.rows:
        held_out_groups.set_held_out(dock._workspace, row.case.group, row.case.group == first.group)
    dock.retrain_panel.refresh()
    findings = dock.retrain_panel.findings
    qtbot.waitUntil(
        lambda: any("the same image as patient 1 case 1, which is held out" in row.text for row in findings.rows)
    )
    assert findings.blocking_reason == ""


DAMAGED_FILES = (
    "registry/live.json",
    "registry/preferences.json",
    "registry/tasks/larynx.json",
    "project/tasks/knee.json",
)
DAMAGED_RUN_FILES = (
    "events.jsonl",
    "snapshot.json",
    "recipe.json",
    "process.json",
    "card.json",
    "doubt.txt",
    "split.json",
)


DAMAGES = (b'{"a": "\xff"}\n{"event', b"\0" * 600, b"[" * 100_000, b"", b'{"tasks": 1e999}')


def test_damaged_files_do_not_stop_a_project_from_opening(
    open_workspace: Callable[[], Workspace],
    make_dock: Callable[[Workspace], Dock],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    told: Texts,
) -> None:
    ws = open_workspace()
    states = (RunState.RUNNING, RunState.PAUSED, RunState.FAILED, RunState.PROMOTED, RunState.FINISHED)
    for state in states:
        ws.project.insert(Run(state, "lungs", "lungs-unet@1", f"runs/{state}", state, 1, None, "2026"))
    ws.project.insert(Run("r9", "knee", "", "runs/paused", RunState.PAUSED, 1, None, "2026"))
    names = [*DAMAGED_FILES, "registry/lungs-unet/2/card.json"]
    names += [f"project/runs/{state}/{name}" for state in states for name in DAMAGED_RUN_FILES]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(DAMAGES[number % len(DAMAGES)])
    dock = make_dock(open_workspace())
    dock.retrain_panel.refresh()
    dock.run_monitor.poll()
    assert dock.worklist.task.name == "lungs"
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == len(set(warned)), "named once each"
    assert any("live.json" in text for text in warned)
    assert "Traceback" not in caplog.text
