"""Commands for many cases go on in steps: a case that is opened between two steps is left alone."""

from types import SimpleNamespace

import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core.project.case_files import write_image_copy
from napari_medseg.plugin.case_table.case_commands import CaseCommands
from napari_medseg.plugin.controllers.task_assigner import TaskAssigner
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_list import many_cases


@pytest.fixture
def desk(window: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Three cases, of which one step changes one."""
    monkeypatch.setattr(many_cases, "CASES_PER_STEP", 1)
    window.worklist.set_predicts_automatically(False)
    images = [phantom(number) for number in range(3)]
    for image in images:
        write_image_copy(window.ws.project.folder, image)
    window.cases = cases.add_cases(window.ws, images, "lungs")
    window.worklist.reload_cases()
    window.told = []

    def ask(text: str, _answers: object, _tasks: object = ()) -> None:
        window.told.append(text)

    assigner = TaskAssigner(window.ws, window.worklist, window.case_controller, ask)
    window.commands = CaseCommands(window.ws, window.worklist, window.case_controller, assigner, ask)
    return window


def list_states(desk: SimpleNamespace) -> list[str]:
    return [row.state for row in cases.list_cases(desk.ws, "lungs")]


def test_a_case_that_is_opened_meanwhile_is_not_rejected(desk: SimpleNamespace, qtbot: QtBot) -> None:
    desk.commands.reject(desk.cases)
    desk.worklist.open(desk.cases[2])  # its image is read in a thread
    assert desk.case_controller.current is None
    qtbot.waitUntil(lambda: "2 cases rejected" in desk.told[-1])
    assert desk.told[-1].startswith(f"2 cases rejected. 1 not: {desk.cases[2].name} is open")
    assert list_states(desk) == ["rejected", "rejected", "new"]
    assert desk.case_controller.current.case == desk.cases[2]
    desk.commands.remove([desk.cases[0], desk.cases[2]])
    qtbot.waitUntil(lambda: "removed from the list" in desk.told[-1])
    assert f"{desk.cases[2].name} is open and stays" in desk.told[-1]


def test_nothing_goes_on_in_a_closed_project(desk: SimpleNamespace, qtbot: QtBot) -> None:
    desk.commands.reject(desk.cases)
    desk.commands.close()
    qtbot.wait(20)
    assert list_states(desk) == ["rejected", "new", "new"]
