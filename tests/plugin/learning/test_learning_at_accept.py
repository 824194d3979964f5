"""Learning at Accept in the dock: what it says, its switch, and that it never delays a person."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from learning_phantoms import write_fake_python
from plugin_phantoms import Texts, write_phantom
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMenu

from napari_medseg.core import formats
from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.plugin.controllers.prediction_queue import PredictionRequest
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.learning import learning_at_accept
from napari_medseg.plugin.learning.learning_at_accept import LearningAtAccept, add_switch
from napari_medseg.workflow.cases import add_cases, get_case_row
from napari_medseg.workflow.learning.learner import AcceptLearner
from napari_medseg.workflow.learning.lesson import Lesson
from napari_medseg.workflow.preferences import change_preferences, read_preferences
from napari_medseg.workflow.workspace import Workspace

LIVE, ADAPTED = "lungs-unet@1 live", "lungs-unet@1 + 1 case"


@pytest.fixture
def make_learning_dock(ws: Workspace, make_dock: Callable[[Workspace], Dock], tmp_path: Path) -> Callable[..., Dock]:
    """A dock with three cases of one patient; the adapting process has no network. Its first case is open."""

    def make(mode: str = "", *, learns: bool = True) -> Dock:
        change_preferences(ws.registry, {"learns_at_accept": learns})
        images = [formats.read(write_phantom(tmp_path / "in", number)) for number in (1, 2, 3)]
        add_cases(ws, [replace(image, group="patient 1") for image in images], "lungs")
        dock = make_dock(ws)
        dock.learning.learner = AcceptLearner(ws, write_fake_python(tmp_path, mode))
        dock.worklist.open_next()
        return dock

    return make


def settle(dock: Dock, qtbot: QtBot) -> None:
    """Wait until the open case can be accepted, and all others are predicted."""

    def is_settled() -> bool:
        current = dock.case_controller.current
        is_open = current is not None and current.edit_session is not None
        rows = [row for row in dock.worklist.rows if not row.is_decided]
        return is_open and all(row.prediction for row in rows) and dock.prediction_queue.running_request is None

    qtbot.waitUntil(is_settled)


def accept(dock: Dock, qtbot: QtBot) -> Case:
    settle(dock, qtbot)
    case = dock.case_controller.current.case
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    return case


def get_shown(dock: Dock) -> str:
    return str(dock.case_panel._model.currentText())


def test_next_drafts_come_from_the_state_and_the_dock_says_so_until_it_is_switched_off(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace
) -> None:
    dock = make_learning_dock()
    settle(dock, qtbot)
    assert get_shown(dock) == LIVE
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: get_shown(dock) == ADAPTED)
    assert "learnt from 1 accepted case" in dock.case_panel._model.toolTip()
    settle(dock, qtbot)
    opened = dock.case_controller.current.case
    waiting = [row.case for row in dock.worklist.rows if not row.is_decided and row.case.id != opened.id]
    qtbot.waitUntil(lambda: get_case_row(ws, waiting[0]).prediction.model_title == ADAPTED)
    assert get_case_row(ws, opened).prediction.model_title == "lungs-unet@1", "the open draft does not change"

    dock.learning.set_on(False)
    assert get_shown(dock) == LIVE
    assert not read_preferences(ws.registry).learns_at_accept
    qtbot.waitUntil(lambda: get_case_row(ws, waiting[0]).prediction.model_title == "lungs-unet@1")
    accept(dock, qtbot)
    assert not dock.learning.learner.is_running
    assert get_shown(dock) == LIVE

    dock.learning.set_on(True)
    assert get_shown(dock) == ADAPTED, "what was learnt is still there"


def test_switch_in_the_menu_follows_the_open_project(make_learning_dock: Callable[..., Dock]) -> None:
    dock, menu = make_learning_dock(), QMenu()
    shown: list[LearningAtAccept | None] = [None]
    add_switch(menu, lambda: shown[0])
    (action,) = menu.actions()
    menu.aboutToShow.emit()
    assert not action.isChecked()
    action.trigger()  # no project is open: nothing happens

    shown[0] = dock.learning
    menu.aboutToShow.emit()
    assert action.isChecked()
    action.trigger()
    assert not dock.learning.is_on


def test_off_nothing_is_started(make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace) -> None:
    dock = make_learning_dock(learns=False)
    accept(dock, qtbot)
    qtbot.wait(50)
    assert not dock.learning.learner.is_running
    assert not (ws.project.folder / "adapted").exists()


def test_a_rejected_case_is_not_learnt_from(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace
) -> None:
    dock = make_learning_dock()
    settle(dock, qtbot)
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.case_controller.reject()
    dock.learning.poll()
    assert not dock.learning.learner.is_running
    assert dock.learning._writer is None


def test_it_waits_while_a_person_waits_for_a_prediction(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace
) -> None:
    dock = make_learning_dock("time.sleep(60)")
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: dock.learning.learner.is_running)
    settle(dock, qtbot)
    folder = dock.learning.learner._folder
    assert not (folder / "pause").exists()

    ws.engine.gate = threading.Event()
    current = dock.case_controller.current
    dock.prediction_queue.predict(PredictionRequest(current.case, "lungs-unet@1", current.image))
    assert (folder / "pause").exists()
    ws.engine.gate.set()
    qtbot.waitUntil(lambda: not (folder / "pause").exists())


def test_a_failed_adaptation_is_one_plain_line_and_the_work_goes_on(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace
) -> None:
    told = Texts()
    dock = make_learning_dock("raise OSError('No space left on device')")
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: "The next drafts do not learn from the last case" in told)
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: not dock.learning.learner.is_running and not dock.learning._due)
    assert sum("do not learn from the last case" in text for text in told) == 1
    assert get_shown(dock) == LIVE
    assert len(ws.project.read_records(Correction)) == 2


def test_closing_ends_the_process(make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace) -> None:
    dock = make_learning_dock("time.sleep(60)")
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: dock.learning.learner.is_running)
    process = dock.learning.learner._process
    dock.learning.close()
    assert process.poll() is not None
    assert not list((ws.project.folder / "adapted").iterdir())


def test_a_background_prediction_of_a_case_that_is_opened_does_not_change_its_draft(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace
) -> None:
    dock = make_learning_dock(learns=False)
    settle(dock, qtbot)
    following = next(row.case for row in dock.worklist.list_ahead(1))
    n_before = len(ws.project.read_records(Prediction, "case_id", following.id))
    ws.engine.gate = threading.Event()
    dock.prediction_queue.predict(PredictionRequest(following, "lungs-unet@1", urgent=False))
    dock.worklist.open(following)
    qtbot.waitUntil(lambda: dock.case_controller.current.case.id == following.id)
    assert dock.prediction_queue.running_request is None
    ws.engine.gate.set()
    qtbot.wait(50)
    assert len(ws.project.read_records(Prediction, "case_id", following.id)) == n_before


def test_switched_off_while_the_lesson_is_written_no_process_starts(
    make_learning_dock: Callable[..., Dock], qtbot: QtBot, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, is_off = learning_at_accept.write_lesson, threading.Event()

    def write_when_off(lesson: Lesson, folder: Path) -> bool:
        is_off.wait(60)
        return written(lesson, folder)

    monkeypatch.setattr(learning_at_accept, "write_lesson", write_when_off)
    dock = make_learning_dock("time.sleep(60)")
    accept(dock, qtbot)
    qtbot.waitUntil(lambda: dock.learning._writer is not None)
    dock.learning.set_on(False)
    is_off.set()
    qtbot.waitUntil(lambda: dock.learning._writer is None)
    assert not dock.learning.learner.is_running
    assert not list((ws.project.folder / "adapted").iterdir())
