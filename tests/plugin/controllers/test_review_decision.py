"""Accepting and rejecting: whatever is pressed meanwhile, a decision that began is recorded, or it is refused."""

import threading
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from plugin_phantoms import Texts, phantom, phantom_labels
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Case, Correction, Review, ReviewState
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.controllers import open_case
from napari_medseg.plugin.controllers.added_labels import AddedLabels
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.task_assigner import TaskAssigner
from napari_medseg.plugin.drafts import after_accept, preparer
from napari_medseg.plugin.meter.meter import Meter
from napari_medseg.plugin.widgets.message_line import MessageLine
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.case_list.filters import CaseFilter
from napari_medseg.workflow.workspace import Workspace


def predicted(ws: Workspace, image: Image) -> Case:
    (case,) = cases.add_cases(ws, [image], "lungs")
    review.record_prediction(ws, case, PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    case_files.write_image_copy(ws.project.folder, image)
    return case


def hold_back(monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """Let the work in a thread wait until the returned event is set."""
    goes_on, work = threading.Event(), getattr(open_case, name)

    def wait_and_work(*arguments: object) -> Generator[Any]:
        assert goes_on.wait(60)
        yield from work(*arguments)

    monkeypatch.setattr(open_case, name, wait_and_work)
    return goes_on


@pytest.fixture
def edited(window: SimpleNamespace) -> SimpleNamespace:
    """An edited case on the desk, and two more cases in the list."""
    window.worklist.set_predicts_automatically(False)
    window.cases = [predicted(window.ws, phantom(number)) for number in range(3)]
    window.worklist.reload_cases()
    window.desk = window.case_controller
    window.desk.open(window.cases[0], phantom(0))
    window.layer = window.desk.current.labels_layer
    window.layer.paint((2, 2), 1)
    window.seen = window.layer.data.copy()
    window.assigner = TaskAssigner(window.ws, window.worklist, window.desk, lambda *_: None)
    return window


def check_recorded(window: SimpleNamespace) -> None:
    (correction,) = window.ws.project.read_records(Correction)
    assert np.array_equal(
        case_files.read_case_labels(window.ws.project.folder, window.cases[0], correction), window.seen
    )
    (closed,) = window.ws.project.read_records(Review, "case_id", window.cases[0].id)
    assert (closed.state, closed.changed_voxels) == (ReviewState.ACCEPTED, correction.changed_voxels)
    assert next(row.state for row in window.worklist.rows if row.case.id == window.cases[0].id) == "accepted"


def show_another_prediction(window: SimpleNamespace) -> None:
    labels = np.zeros_like(phantom_labels())
    result = PredictionResult(labels, 0.1, None, 1.0, "CPU")
    window.desk.show_prediction(review.record_prediction(window.ws, window.cases[0], result, "lungs-unet@1"), labels)


PRESSED: dict[str, Callable[[SimpleNamespace], object]] = {
    "nothing": lambda window: None,
    "accept": lambda window: window.desk.accept(),
    "reject": lambda window: window.desk.reject(),
    "reset": lambda window: window.desk.reset(),
    "undo": lambda window: window.desk.undo(),
    "undo, redo": lambda window: (window.desk.undo(), window.desk.redo()),
    "predict": show_another_prediction,
    "edit again": lambda window: window.desk.restart_review(),
    "previous": lambda window: window.worklist.step(-1),
    "use for another task": lambda window: window.assigner.use_open_image("covid"),
    "another task": lambda window: window.worklist.choose_task("nuclei"),
    "remove from the list": lambda window: window.assigner.remove_open_case(),
    "close the case": lambda window: window.desk.close_case(),
    "delete the labels layer": lambda window: window.viewer.layers.remove(window.layer),
    "delete the image layer": lambda window: window.viewer.layers.remove(window.desk.current.image_layer),
    "delete all layers": lambda window: window.viewer.layers.clear(),
    "next, delete all layers": lambda window: (window.worklist.step(1), window.viewer.layers.clear()),
}


@pytest.mark.parametrize("pressed", PRESSED)
def test_an_accept_that_began_is_recorded_whatever_is_pressed_while_files_are_written(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, pressed: str
) -> None:
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    try:
        PRESSED[pressed](edited)
        assert edited.desk.saver.is_running
    finally:
        goes_on.set()
    qtbot.waitUntil(lambda: bool(edited.ws.project.read_records(Correction)))
    edited.worklist.choose_task("lungs")
    check_recorded(edited)
    qtbot.waitUntil(lambda: not edited.desk.is_busy and edited.desk.current is not None)
    if pressed != "another task":
        qtbot.waitUntil(lambda: edited.desk.current is not None and edited.desk.current.case.id != edited.cases[0].id)


def test_the_case_that_was_chosen_while_labels_were_saved_opens(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    edited.worklist.open(edited.cases[2])
    goes_on.set()
    qtbot.waitUntil(lambda: edited.desk.current.case.id != edited.cases[0].id)
    assert edited.desk.current.case.id == edited.cases[2].id
    qtbot.waitUntil(lambda: not edited.desk.saver.is_running)
    check_recorded(edited)


@pytest.mark.parametrize("closes", [False, True])
def test_the_next_case_can_be_edited_while_labels_are_saved_and_shares_no_array_with_them(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    goes_on = hold_back(monkeypatch, "write_accepted")
    array = edited.layer.data
    edited.desk.accept()
    if closes:
        edited.desk.close_case()
    edited.desk.open(edited.cases[1], phantom(1))
    current = edited.desk.current
    assert current.case.id == edited.cases[1].id
    assert current.labels_layer.editable
    assert not np.shares_memory(current.labels_layer.data, array)
    current.labels_layer.paint((40, 60), 2)
    goes_on.set()
    qtbot.waitUntil(lambda: not edited.desk.saver.is_running)
    check_recorded(edited)
    assert (edited.desk.current, edited.desk.current.state) == (current, "draft")


def test_the_next_case_opens_at_once_if_the_labels_are_large(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_accept, "MAX_VOXELS_AT_ONCE", 100)
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[1].id)
    edited.desk.accept()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[2].id)
    edited.desk.accept()
    edited.worklist.step(1)
    assert edited.desk.saver.n_cases == 3
    assert edited.desk.current.case.id == edited.cases[2].id, "two images beside the open one are enough in memory"
    goes_on.set()
    qtbot.waitUntil(lambda: not edited.desk.saver.is_running)
    assert len(edited.ws.project.read_records(Correction)) == 3


def test_a_case_that_is_being_saved_opens_when_it_is(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    edited.desk.open(edited.cases[1], phantom(1))
    edited.desk.open(edited.cases[0], phantom(0))
    assert "It opens when they are" in told
    assert edited.desk.current.case.id == edited.cases[1].id
    edited.desk.accept()
    edited.desk.reject()  # the user means the case that was chosen last
    assert "press again when you see it" in told
    assert edited.desk.saver.n_cases == 1
    goes_on.set()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[0].id)
    assert edited.desk.current.state == "accepted"
    assert np.array_equal(edited.desk.current.labels_layer.data, edited.seen)


def test_labels_that_cannot_be_saved_are_a_draft_again_after_the_next_case_was_opened(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = MessageLine()
    qtbot.addWidget(line)
    monkeypatch.setattr(after_accept, "MAX_VOXELS_AT_ONCE", 100)
    edited.layer.data[:] = np.where(edited.layer.data == 1, 2, np.where(edited.layer.data == 2, 1, 0))  # sides swapped
    swapped = edited.layer.data.copy()
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[1].id)
    goes_on.set()
    qtbot.waitUntil(lambda: any("is a draft again" in text for text in line.texts))
    assert not edited.ws.project.read_records(Correction)
    assert [case.id for case in review.list_draft_cases(edited.ws)] == [edited.cases[0].id]
    assert edited.worklist.case_list.get_row(edited.cases[0].id).state == "draft"
    line.press_action(f"Open {edited.cases[0].name}")
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[0].id)
    assert np.array_equal(edited.desk.current.labels_layer.data, swapped)
    assert edited.desk.current.labels_layer.editable


def test_next_pressed_twice_while_an_image_is_read_goes_two_cases_on(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    goes_on = hold_back(monkeypatch, "load_image")
    edited.worklist.step(1)
    edited.worklist.step(1)
    goes_on.set()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[2].id)
    edited.worklist.case_list.set_filter(CaseFilter(text="case 3"))
    edited.worklist.step(1)
    assert "There is no other case on the list as it is filtered" in told


def test_closing_waits_for_the_accept_that_began(ws: Workspace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, opened = CaseController(ViewerModel(), ws), []
    case = predicted(ws, phantom(0))
    desk.open(case, phantom(0))
    desk.decided.connect(opened.append)
    goes_on = hold_back(monkeypatch, "write_accepted")
    desk.accept()
    threading.Timer(0.1, goes_on.set).start()
    desk.close()
    assert len(ws.project.read_records(Correction)) == 1
    assert not opened, "no next case opens in a window that closes"


@pytest.mark.parametrize("decide", ["accept", "reject"])
def test_a_decision_while_the_next_case_is_read_is_refused_and_the_draft_stays(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, told: Texts, decide: str
) -> None:
    goes_on = hold_back(monkeypatch, "load_image")
    edited.desk.open(edited.cases[1])
    try:
        getattr(edited.desk, decide)()
        assert "being read" in told
        edited.desk.undo()
        edited.desk.redo()
    finally:
        goes_on.set()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[1].id)
    assert [case.id for case in review.list_draft_cases(edited.ws)] == [edited.cases[0].id]
    edited.desk.open(edited.cases[0], phantom(0))
    assert np.array_equal(edited.desk.current.labels_layer.data, edited.seen)
    with qtbot.waitSignal(edited.desk.decided):
        edited.desk.accept()
    check_recorded(edited)


def test_a_prediction_that_arrives_while_the_next_case_is_read_does_not_stop_that(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited.desk.undo()
    monkeypatch.setattr(preparer, "MAX_VOXELS_AT_ONCE", 100)
    goes_on = hold_back(monkeypatch, "load_image")
    edited.desk.open(edited.cases[1])
    show_another_prediction(edited)
    goes_on.set()
    qtbot.waitUntil(lambda: edited.desk.current.case.id == edited.cases[1].id)


@pytest.mark.parametrize("closes", [False, True])
def test_an_accept_that_cannot_be_recorded_leaves_the_draft(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, told: Texts, closes: bool
) -> None:
    def refuse(*_: object) -> None:
        raise MedSegError("the disk is full")

    monkeypatch.setattr(review, "record_correction", refuse)
    edited.desk.accept()
    if closes:
        edited.desk.close_case()
    qtbot.waitUntil(lambda: "the disk is full" in told)
    monkeypatch.undo()
    if closes:
        edited.desk.open(edited.cases[0], phantom(0))
    assert np.array_equal(edited.desk.current.labels_layer.data, edited.seen)
    assert edited.desk.current.labels_layer.editable
    with qtbot.waitSignal(edited.desk.decided):
        edited.desk.accept()
    check_recorded(edited)


def test_no_change_of_the_lists_is_undone_while_labels_are_saved(
    edited: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    undone: list[bool] = []
    edited.assigner.remember(("Undo: use slice 0 for lungs", lambda: undone.append(True)))
    goes_on = hold_back(monkeypatch, "write_accepted")
    edited.desk.accept()
    edited.assigner.undo()
    assert not undone
    assert "are being saved" in told
    goes_on.set()
    qtbot.waitUntil(lambda: not edited.desk.saver.is_running)
    edited.assigner.undo()
    assert undone


@pytest.mark.parametrize("answer", ["Ignore it", "Merge"])
def test_an_answer_about_added_labels_decides_no_other_case(edited: SimpleNamespace, answer: str) -> None:
    asked: list[tuple[str, list[tuple[str, Callable[[], None]]]]] = []
    settled: list[bool] = []
    added = AddedLabels(
        edited.viewer, edited.desk, lambda: edited.worklist.task, lambda *question: asked.append(question)
    )
    edited.viewer.add_labels(np.ones_like(edited.seen), name="mine")
    added.call_when_settled(lambda: settled.append(True))
    edited.desk.open(edited.cases[1], phantom(1))
    dict(asked[0][1])[answer]()
    assert not settled
    assert not edited.desk.current.is_edited


def test_labels_that_are_being_saved_are_of_the_person_who_accepted(
    edited: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    ws = edited.ws
    ws.reader.set_name("Anna")
    goes_on = hold_back(monkeypatch, "write_accepted")
    meter = Meter(edited.viewer, ws, edited.desk, edited.worklist)
    qtbot.addWidget(meter.button)
    edited.desk.accept()
    with pytest.raises(MedSegError, match="The labels are being saved, as those of Anna"):
        meter.change_reader("Ben")
    assert ws.reader.name == "Anna"
    ws.reader.set_name("Ben")  # as from elsewhere
    goes_on.set()
    qtbot.waitUntil(lambda: not edited.desk.is_busy)
    (correction,) = ws.project.read_records(Correction)
    (closed,) = ws.project.read_records(Review, "case_id", edited.cases[0].id)
    assert (correction.who, closed.who, ws.reader.key()) == ("reader 1", "reader 1", "reader 2")
