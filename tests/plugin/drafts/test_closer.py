"""A case that is left is compared with its draft in a thread, and nothing is lost meanwhile."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import Texts, phantom, phantom_labels
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.drafts import closer, preparer
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.drafts import Draft

PAINTED = (1, 2, 2)


class Gate:
    """Holds the comparison back until it is opened, and notes in which threads labels were compared."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.threads: list[threading.Thread] = []

    def open(self) -> None:
        self.opened.set()

    def open_later(self) -> None:
        threading.Timer(0.2, self.open).start()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, compare = Gate(), closer.have_equal_labels

    def wait_and_compare(first: np.ndarray, second: np.ndarray) -> bool:
        gate.threads.append(threading.current_thread())
        assert gate.opened.wait(60)
        return compare(first, second)

    monkeypatch.setattr(closer, "have_equal_labels", wait_and_compare)
    for module in (closer, preparer):
        monkeypatch.setattr(module, "MAX_VOXELS_AT_ONCE", 100)
    yield gate
    gate.open()


@pytest.fixture
def opened(window: SimpleNamespace, gate: Gate, qtbot: QtBot) -> SimpleNamespace:
    """A large case with a change that no event told of, and another case to go to."""
    window.worklist.set_predicts_automatically(False)
    window.desk = window.case_controller
    window.cases = []
    for number in range(2):
        (case,) = cases.add_cases(window.ws, [phantom(number, n_slices=3)], "lungs")
        result = PredictionResult(phantom_labels(3), 0.1, None, 1.0, "CPU")
        window.prediction = review.record_prediction(window.ws, case, result, "lungs-unet@1")
        window.cases.append(case)
    open_case(window, qtbot, 0)
    window.desk.current.labels_layer.data[PAINTED] = 1
    return window


def open_case(window: SimpleNamespace, qtbot: QtBot, number: int) -> None:
    window.desk.open(window.cases[number], phantom(number, n_slices=3))
    qtbot.waitUntil(lambda: is_shown(window, window.cases[number]))


def is_shown(window: SimpleNamespace, case: Case) -> bool:
    current = window.desk.current
    return current is not None and current.case.id == case.id and current.edit_session is not None


def read_draft(window: SimpleNamespace) -> np.ndarray:
    draft = review.open_review(window.ws, window.cases[0], None)
    draft.close()
    return draft.labels


def test_the_next_case_opens_before_the_comparison_has_ended(opened: SimpleNamespace, gate: Gate, qtbot: QtBot) -> None:
    open_case(opened, qtbot, 1)
    assert gate.threads
    assert threading.main_thread() not in gate.threads
    opened.desk.current.labels_layer.paint((0, 9, 9), 2)
    gate.open()
    opened.desk.close()
    labels = read_draft(opened)
    assert labels[PAINTED] == 1
    assert np.count_nonzero(labels != phantom_labels(3)) == 1, "the stroke on the next case is not in this draft"


WAYS_BACK: dict[str, Callable[[SimpleNamespace, QtBot], object]] = {
    "opened again": lambda window, qtbot: open_case(window, qtbot, 0),
    "window closed": lambda window, _: window.desk.close(),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_a_draft_is_read_only_after_its_comparison(opened: SimpleNamespace, gate: Gate, qtbot: QtBot, way: str) -> None:
    open_case(opened, qtbot, 1)
    gate.open_later()
    WAYS_BACK[way](opened, qtbot)
    assert read_draft(opened)[PAINTED] == 1


def test_a_prediction_that_arrives_merges_into_the_draft_with_its_last_change(
    opened: SimpleNamespace, gate: Gate, qtbot: QtBot
) -> None:
    gate.open_later()
    opened.desk.show_prediction(opened.prediction, phantom_labels(3))
    assert not opened.desk.current.labels_layer.editable
    qtbot.waitUntil(lambda: is_shown(opened, opened.cases[0]))
    assert opened.desk.current.labels_layer.data[PAINTED] == 1
    assert opened.desk.current.state == "draft"


def test_a_review_that_is_started_again_has_the_last_change(opened: SimpleNamespace, gate: Gate) -> None:
    gate.open_later()
    opened.desk.restart_review()
    assert opened.desk.current.labels_layer.data[PAINTED] == 1


def test_a_stroke_that_has_not_ended_is_recorded(opened: SimpleNamespace, gate: Gate, qtbot: QtBot) -> None:
    gate.open()
    layer = opened.desk.current.labels_layer
    layer._block_history = True  # as napari does while a mouse button is held
    layer.paint((2, 9, 9), 2)
    open_case(opened, qtbot, 1)
    opened.desk.close()
    assert read_draft(opened)[2, 9, 9] == 2


def test_a_change_that_cannot_be_written_is_told(
    opened: SimpleNamespace, gate: Gate, qtbot: QtBot, told: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MedSegError("the disk is full. Free some space.")

    monkeypatch.setattr(Draft, "record_missed_changes", refuse)
    gate.open()
    open_case(opened, qtbot, 1)
    qtbot.waitUntil(lambda: "the disk is full" in told)
    assert "Free some space" in told
