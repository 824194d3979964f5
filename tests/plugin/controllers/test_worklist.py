"""Drop, next, and what is predicted before it is asked for."""

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import N_RIGHT, Texts, phantom, write_phantom, write_version
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Prediction
from napari_medseg.plugin.reader_writer import make_layer_data
from napari_medseg.workflow import cases
from napari_medseg.workflow.hold_out import held_out_groups


def drop(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, *numbers: int) -> None:
    with qtbot.waitSignal(window.worklist.importer.finished):
        window.worklist.importer.read([write_phantom(tmp_path / "in", number) for number in numbers])


def wait_for(window: SimpleNamespace, qtbot: QtBot, *states: str) -> None:
    qtbot.waitUntil(lambda: window.prediction_queue.running_request is None)
    qtbot.waitUntil(lambda: [row.state for row in window.worklist.rows] == list(states))


def names(window: SimpleNamespace) -> list[str]:
    return [layer.name for layer in window.viewer.layers]


def test_a_dropped_file_is_predicted_without_a_click(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window, qtbot, tmp_path, 1)
    wait_for(window, qtbot, "predicted")
    assert names(window) == ["patient 1 case 1", "lungs: patient 1 case 1 (predicted)"]
    assert np.count_nonzero(window.case_controller.current.labels_layer.data == 1) == N_RIGHT


def test_of_several_the_first_is_open_and_all_get_predicted(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    assert window.case_controller.current.case.file_name == "case1"
    assert len(window.viewer.layers) == 2
    assert "3 images were added to the list" in told


def test_the_same_file_again_is_the_same_case(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window, qtbot, tmp_path, 1, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    drop(window, qtbot, tmp_path, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    assert window.case_controller.current.case.file_name == "case2"
    assert len(window.ws.engine.asked) == 2


def test_without_the_tick_nothing_is_predicted_until_asked(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path
) -> None:
    window.worklist.set_predicts_automatically(False)
    drop(window, qtbot, tmp_path, 1, 2)
    qtbot.wait(30)
    assert not window.ws.engine.asked
    assert window.worklist.can_predict
    window.worklist.predict()
    wait_for(window, qtbot, "predicted", "new")


def test_accepting_opens_the_next_until_all_are_done(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(window, qtbot, tmp_path, 1, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    window.case_controller.accept()
    wait_for(window, qtbot, "accepted", "predicted")
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case2")
    assert window.case_controller.current.labels_layer.editable
    window.case_controller.reject()
    wait_for(window, qtbot, "accepted", "rejected")
    assert "All cases are done" in told


def test_accepting_reads_rows_and_no_list(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    asked: list[str] = []
    window.ws.project._connection.set_trace_callback(asked.append)
    window.case_controller.accept()
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name != "case1")
    wait_for(window, qtbot, "accepted", "predicted", "predicted")
    qtbot.waitUntil(lambda: not window.case_controller.is_busy)
    qtbot.wait(50)
    window.ws.project._connection.set_trace_callback(None)
    cases_read = [sql for sql in asked if "cases_with_side" in sql]
    lists = [sql for sql in cases_read if "c.id = " not in sql]
    assert not lists, lists
    assert 1 <= len(cases_read) <= 9


def test_the_list_is_what_the_project_says_after_every_step(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path
) -> None:
    """Rows are read one by one: none may be forgotten."""

    def check() -> None:
        qtbot.wait(20)
        assert window.worklist.rows == cases.list_cases(window.ws, "lungs")

    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    check()
    window.case_controller.current.labels_layer.paint((2, 2), 1)
    wait_for(window, qtbot, "draft", "predicted", "predicted")
    window.case_controller.accept()
    wait_for(window, qtbot, "accepted", "predicted", "predicted")
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case2")
    window.case_controller.reject()
    wait_for(window, qtbot, "accepted", "rejected", "predicted")
    group = window.worklist.rows[2].case.group
    held_out_groups.set_held_out(window.ws, group, not window.worklist.rows[2].case.held_out)
    window.worklist.case_list.update_group(group)
    check()
    drop(window, qtbot, tmp_path, 3, 4)
    wait_for(window, qtbot, "accepted", "rejected", "predicted", "predicted")
    check()


def test_next_and_previous_go_round(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    seen = [window.case_controller.current.case]
    for by in (1, 1, 1, -1):
        window.worklist.step(by)
        qtbot.waitUntil(lambda: getattr(window.case_controller.current, "case", None) not in (None, seen[-1]))
        seen.append(window.case_controller.current.case)
    assert [case.file_name for case in seen] == ["case1", "case2", "case3", "case1", "case3"]


def test_after_a_restart_stepping_begins_at_the_ends(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    drop(window, qtbot, tmp_path, 1, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    window.case_controller.close_case()
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert window.case_controller.current.case.file_name == "case1"
    window.case_controller.close_case()
    window.worklist.step(-1)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert window.case_controller.current.case.file_name == "case2"


def test_an_image_that_the_task_does_not_take_is_refused_and_the_window_stays(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(window, qtbot, tmp_path, 1)
    wait_for(window, qtbot, "predicted")
    before = names(window)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    with qtbot.waitSignal(window.worklist.importer.finished):
        window.worklist.importer.read([tmp_path / "broken.png"])
    assert names(window) == before
    assert len([text for text in told if "broken.png" in text]) == 1


def test_a_failed_prediction_is_one_message_and_the_case_stays_open(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    window.ws.engine.error = MedSegError("the prediction process ended; it was restarted, predict again")
    drop(window, qtbot, tmp_path, 1)
    wait_for(window, qtbot, "new")
    qtbot.wait(50)
    assert len([text for text in told if "predict again" in text]) == 1
    assert names(window) == ["patient 1 case 1"]
    window.ws.engine.error = None
    window.worklist.predict()
    wait_for(window, qtbot, "predicted")


def test_a_layer_of_other_code_is_predicted_when_it_is_selected(window: SimpleNamespace, qtbot: QtBot) -> None:
    image = phantom(9)
    layer = window.viewer.add_image(image.pixels, scale=(2, 2), name="from a script")
    qtbot.wait(20)
    assert not window.ws.engine.asked
    assert window.worklist.can_predict
    window.worklist.predict()
    wait_for(window, qtbot, "predicted")
    assert names(window) == ["from a script", "lungs: patient 1 case 1 (predicted)"]
    assert np.array_equal(window.viewer.layers[1].scale, layer.scale)
    case = window.case_controller.current.case
    window.case_controller.close_case()
    assert names(window) == ["from a script"], "somebody else's layer is theirs"
    layer.name = "theirs"
    window.worklist.open(case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert names(window) == ["theirs", "patient 1 case 1", "lungs: patient 1 case 1 (predicted)"]


def test_layers_of_the_reader_become_cases_and_only_the_first_stays(window: SimpleNamespace, qtbot: QtBot) -> None:
    for number in range(3):
        data, arguments, _ = make_layer_data(phantom(number))
        window.viewer.add_image(data, **arguments)
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 3)
    qtbot.waitUntil(lambda: names(window) == ["patient 1 case 1", "lungs: patient 1 case 1 (predicted)"])
    assert window.case_controller.current.case.file_name == "slice 0"
    assert [row.case.file_name for row in window.worklist.rows] == ["slice 0", "slice 1", "slice 2"]
    np.testing.assert_array_equal(window.viewer.layers[0].data, phantom(0).pixels)


def test_a_case_whose_image_is_gone_is_left_alone_in_the_background(
    window: SimpleNamespace, qtbot: QtBot, told: Texts
) -> None:
    for number in range(2):
        data, arguments, _ = make_layer_data(phantom(number))
        window.viewer.add_image(data, **arguments)
    wait_for(window, qtbot, "predicted", "new")
    qtbot.wait(50)
    assert "cannot be shown" not in told


def test_a_new_live_version_predicts_anew_what_nobody_touched(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path
) -> None:
    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case2")
    window.case_controller.current.labels_layer.paint((2, 2), 1)
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case3")
    window.ws.registry.add(write_version(tmp_path / "made", 2))
    window.ws.registry.promote("lungs-unet@2")
    window.worklist.use_live_model()
    wait_for(window, qtbot, "predicted", "draft", "predicted")
    qtbot.waitUntil(lambda: len(window.ws.project.read_records(Prediction)) == 5)
    models = {row.case.file_name: row.prediction.model for row in window.worklist.rows}
    assert models == {"case1": "lungs-unet@2", "case2": "lungs-unet@1", "case3": "lungs-unet@2"}


@pytest.mark.parametrize("held", [True, False])
def test_what_was_predicted_ahead_opens_at_once(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, held: bool
) -> None:
    drop(window, qtbot, tmp_path, 1, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    window.ws.engine.gate = threading.Event() if held else None  # nothing more is asked of the engine
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case2")
    assert window.case_controller.current.labels_layer is not None
    assert len(window.ws.engine.asked) == 2


def test_a_case_that_cannot_be_opened_does_not_stop_the_way_through_the_list(
    window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    drop(window, qtbot, tmp_path, 1, 2, 3)
    wait_for(window, qtbot, "predicted", "predicted", "predicted")
    file = window.ws.project.folder / window.worklist.rows[1].prediction.labels_file
    sound = file.read_bytes()
    file.write_bytes(b"damaged")
    window.worklist.step(1)
    qtbot.waitUntil(lambda: "is damaged" in told)
    assert window.case_controller.current.case.file_name == "case1"
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case3")
    window.case_controller.accept()
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case1")
    assert len([text for text in told if "is damaged" in text]) == 1
    file.write_bytes(sound)
    window.worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.file_name == "case2")


def test_no_newer_model_predicts_a_second_reading(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    """It may have learnt from the labels of the first reader."""
    ws, worklist = window.ws, window.worklist
    ws.reader.set_name("Anna")
    drop(window, qtbot, tmp_path, 1, 2)
    wait_for(window, qtbot, "predicted", "predicted")
    case = window.case_controller.current.case
    window.case_controller.accept()
    wait_for(window, qtbot, "accepted", "predicted")
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Ben")
    worklist.reload_cases()
    worklist.open(case)
    qtbot.waitUntil(lambda: worklist.is_open_blind and window.case_controller.current.edit_session is not None)
    shown, n_asked = window.case_controller.current.labels_layer.data.copy(), len(ws.engine.asked)
    assert (worklist.is_open_blind, worklist.can_predict, worklist.open_case_model) == (True, False, "")
    worklist.use_live_model()
    worklist.predict()
    qtbot.wait(50)
    assert len(ws.engine.asked) == n_asked
    known = ws.project.read_records(Prediction, "case_id", case.id)
    window.prediction_queue.predicted.emit(case, known[-1], np.zeros_like(shown))  # one that was under way
    np.testing.assert_array_equal(window.case_controller.current.labels_layer.data, shown)
    worklist.step(1)
    qtbot.waitUntil(lambda: window.case_controller.current.case.id != case.id)
    assert worklist.can_predict
