"""Use an image, or a drop, for another task; remove a case from the list; undo both."""

from collections.abc import Callable
from pathlib import Path

import pytest
from plugin_phantoms import Texts, write_phantom, write_version
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMenu

from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path) -> Dock:
    """Three slices that were dropped together and guessed to be lungs."""
    write_version(tmp_path / "bundled" / "covid-unet" / "1", name="covid-unet", task="covid")
    dock = make_dock(ws)
    dock.worklist.importer.read([write_phantom(tmp_path / "in", number) for number in (1, 2, 3)])
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted"] * 3)
    return dock


def names(dock: Dock, task: str) -> list[str]:
    return [row.case.file_name for row in cases.list_cases(dock._workspace, task)]


def get_open(dock: Dock) -> tuple[str, str]:
    case = dock.case_controller.current.case
    return case.task, case.file_name


def settle(dock: Dock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.case_controller.is_busy and dock.prediction_queue.running_request is None)


def test_the_open_image_is_used_for_another_task_and_undo_takes_it_back(dock: Dock, qtbot: QtBot) -> None:
    dock.task_assigner.use_open_image("covid")
    assert get_open(dock) == ("covid", "case1")
    assert names(dock, "covid") == ["case1"]
    assert dock._viewer.layers[0].name.startswith("patient 1 case "), "napari would number it"
    assert names(dock, "lungs") == ["case1", "case2", "case3"]
    assert dock.prompt.text.startswith(
        "patient 1 case 4: now on the list of COVID-19 lesions (CT). Still on the list of Lungs"
    )
    qtbot.waitUntil(lambda: dock.case_controller.current.saved_state == "predicted")
    assert dock.case_panel._model.currentData() == "covid-unet@1"
    dock.prompt.press_answer("Undo")
    assert names(dock, "covid") == []
    assert get_open(dock) == ("lungs", "case1")
    assert dock.worklist.task.name == "lungs"


def test_a_whole_drop_moves_with_two_clicks_and_comes_back_with_two(dock: Dock, qtbot: QtBot) -> None:
    dock.task_assigner.use_last_drop("covid")
    assert names(dock, "covid") == ["case1", "case2", "case3"]
    dock.prompt.press_answer("Remove there")
    assert names(dock, "lungs") == []
    assert get_open(dock) == ("covid", "case1")
    dock.task_assigner.undo()
    assert names(dock, "lungs") == names(dock, "covid") == ["case1", "case2", "case3"]
    dock.task_assigner.undo()
    assert names(dock, "covid") == []
    settle(dock, qtbot)
    assert get_open(dock) == ("lungs", "case1")


def test_the_open_case_of_another_task_keeps_its_labels_keys_and_model(dock: Dock, qtbot: QtBot) -> None:
    dock.case_panel.task_selector.chosen.emit("covid")
    assert get_open(dock) == ("lungs", "case1")
    assert dock.case_panel._name.text() == "patient 1 case 1 (Lungs (CT, X-ray))"
    assert [button.text() for button in dock.labels_panel._buttons.buttons()] == ["1   right lung", "2   left lung"]
    layer = dock.case_controller.current.labels_layer
    layer.paint((2, 2), 1)
    dock.confirm_and_predict()
    dock.prompt.press_answer("Predict")
    settle(dock, qtbot)
    (row,) = [row for row in cases.list_cases(dock._workspace, "lungs") if row.case.file_name == "case1"]
    assert row.prediction.model == "lungs-unet@1"
    qtbot.waitUntil(dock.case_panel._use.isVisible)
    assert dock.case_panel._use.text() == "Use this image for COVID-19 lesions (CT)"
    dock.case_panel._use.click()
    assert get_open(dock) == ("covid", "case1")
    qtbot.waitUntil(lambda: not dock.case_panel._use.isVisible())
    assert dock.labels_panel._task.name == "covid"


def test_a_new_task_takes_no_image_by_itself_but_offers_it(dock: Dock) -> None:
    dock.case_panel.task_selector.make_task(make_custom_task("vessels", ["vessel"], kind="grey", title="Vessels"))
    assert names(dock, "vessels") == []
    assert get_open(dock) == ("lungs", "case1")
    dock.case_panel._use.click()
    assert get_open(dock) == ("vessels", "case1")


def test_removing_the_open_case_opens_the_next_one_and_undo_returns_to_it(dock: Dock, qtbot: QtBot) -> None:
    dock.case_controller.current.labels_layer.paint((2, 2), 1)
    dock.task_assigner.remove_open_case()
    settle(dock, qtbot)
    assert names(dock, "lungs") == ["case2", "case3"]
    assert get_open(dock) == ("lungs", "case2")
    assert dock.prompt.text.startswith("patient 1 case 1: no longer on the list of Lungs")
    dock.prompt.press_answer("Undo")
    settle(dock, qtbot)
    assert get_open(dock) == ("lungs", "case1")
    assert dock.case_controller.current.state == "draft"
    assert dock.case_controller.current.labels_layer.data[2, 2] == 1


def test_a_case_with_accepted_labels_stays_and_the_window_says_why(dock: Dock, qtbot: QtBot) -> None:
    case = dock.case_controller.current.case
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    dock.case_panel.list_panel.remove_requested.emit([case])
    qtbot.waitUntil(lambda: "patient 1 case 1 stays on the list: its labels were accepted" in dock.prompt.text)
    assert len(names(dock, "lungs")) == 3


def test_the_list_removes_with_delete(dock: Dock, qtbot: QtBot) -> None:
    panel = dock.case_panel.list_panel
    dock.case_panel._unfold.click()
    removed = next(row.case for row in dock.worklist.rows if row.case.file_name == "case3")
    panel.table.selectRow(panel.model.find_row(removed.id))
    QTest.keyClick(panel.table, Qt.Key.Key_Delete)
    assert removed.file_name not in names(dock, "lungs")
    assert get_open(dock) == ("lungs", "case1")
    qtbot.waitUntil(lambda: panel.model.rowCount() == 2)
    assert dock.prompt.text.startswith(f"{removed.name} removed from the list")
    dock.prompt.press_answer("Undo")
    qtbot.waitUntil(lambda: panel.model.rowCount() == 3)


def test_the_menu_lists_what_is_possible(dock: Dock, qtbot: QtBot) -> None:
    dock.show_list_commands()
    menus = dock.case_panel.task_selector.findChildren(QMenu)
    entries = [action.text() for action in menus[-1].actions() if action.text()]
    assert entries[0] == "Use patient 1 case 1 for"
    assert "COVID-19 lesions (CT)" in entries
    assert "Lungs (CT, X-ray)" not in entries[:4]
    assert "Use the 3 images of the last drop for" in entries
    assert entries[-1] == "Remove patient 1 case 1 from the list of Lungs (CT, X-ray)"
    menus[-1].actions()[1].trigger()
    menus[-1].close()
    assert get_open(dock)[0] != "lungs"
    sections = dock.task_assigner.list_commands()
    assert sections[-1][1][0][0].startswith("Undo: use patient 1 case 4 for")


def test_an_image_that_is_listed_already_is_only_shown(dock: Dock, told: Texts) -> None:
    dock.task_assigner.use_open_image("covid")
    dock.prompt.press_answer("Keep")
    lungs = next(row.case for row in cases.list_cases(dock._workspace, "lungs"))
    dock.task_assigner.use_cases([lungs], "covid")
    assert "patient 1 case 4: on the list of COVID-19 lesions (CT) already" in told
    assert names(dock, "covid") == ["case1"]
