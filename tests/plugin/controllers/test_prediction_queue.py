import threading
from types import SimpleNamespace

import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Prediction
from napari_medseg.plugin.controllers.prediction_queue import PredictionRequest
from napari_medseg.workflow import cases, review


@pytest.fixture
def parts(window: SimpleNamespace) -> SimpleNamespace:
    window.worklist.close()
    window.images = [phantom(number) for number in range(3)]
    window.cases = cases.add_cases(window.ws, window.images, "lungs")
    window.engine = window.ws.engine
    window.heard = []
    window.prediction_queue.predicted.connect(lambda case, prediction, _: window.heard.append((case.id, prediction)))
    return window


def request(parts: SimpleNamespace, number: int, urgent: bool = True) -> PredictionRequest:
    return PredictionRequest(parts.cases[number], "lungs-unet@1", parts.images[number], urgent)


def test_a_prediction_is_remembered_and_told(parts: SimpleNamespace, qtbot: QtBot) -> None:
    progress: list[object] = []
    parts.prediction_queue.progressed.connect(progress.append)
    parts.prediction_queue.predict(request(parts, 0))
    assert parts.prediction_queue.has_urgent_request
    qtbot.waitUntil(lambda: not parts.prediction_queue.has_urgent_request)
    (stored,) = parts.ws.project.read_records(Prediction)
    assert parts.heard == [(parts.cases[0].id, stored)]
    assert progress[0].text == "slice 0 of 2"


def test_an_urgent_prediction_interrupts_one_in_the_background(parts: SimpleNamespace, qtbot: QtBot) -> None:
    parts.engine.gate = threading.Event()
    parts.prediction_queue.predict(request(parts, 0, urgent=False))
    assert not parts.prediction_queue.has_urgent_request
    qtbot.waitUntil(lambda: parts.engine.asked == ["slice 0"])
    parts.prediction_queue.predict(request(parts, 1))
    qtbot.waitUntil(lambda: parts.engine.asked == ["slice 0", "slice 1"])
    parts.engine.gate.set()
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert [case_id for case_id, _ in parts.heard] == [parts.cases[1].id]


def test_the_same_prediction_becomes_urgent_without_beginning_anew(parts: SimpleNamespace, qtbot: QtBot) -> None:
    parts.engine.gate = threading.Event()
    parts.prediction_queue.predict(request(parts, 0, urgent=False))
    qtbot.waitUntil(lambda: parts.engine.asked == ["slice 0"])
    parts.prediction_queue.predict(request(parts, 0))
    assert parts.prediction_queue.has_urgent_request
    parts.engine.gate.set()
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert parts.engine.asked == ["slice 0"]
    assert len(parts.heard) == 1


def test_one_in_the_background_never_pushes_another_away(parts: SimpleNamespace, qtbot: QtBot) -> None:
    parts.engine.gate = threading.Event()
    parts.prediction_queue.predict(request(parts, 0))
    parts.prediction_queue.predict(request(parts, 1, urgent=False))
    parts.engine.gate.set()
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert parts.engine.asked == ["slice 0"]


def test_cancel_keeps_nothing_and_is_no_failure(parts: SimpleNamespace, qtbot: QtBot) -> None:
    failures: list[str] = []
    parts.prediction_queue.failed.connect(lambda _request, text: failures.append(text))
    parts.engine.gate = threading.Event()
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: bool(parts.engine.asked))
    parts.prediction_queue.cancel()
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert not parts.heard
    assert not failures
    assert not parts.ws.project.read_records(Prediction)


def test_a_failure_is_told_once_and_the_next_prediction_works(parts: SimpleNamespace, qtbot: QtBot) -> None:
    failures: list[str] = []
    parts.prediction_queue.failed.connect(lambda _request, text: failures.append(text))
    parts.engine.error = MedSegError("the prediction process ended; it was restarted, predict again")
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert failures == ["the prediction process ended; it was restarted, predict again"]
    parts.engine.error = None
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert len(parts.heard) == 1


def test_close_ends_the_thread_in_the_middle_of_a_prediction(parts: SimpleNamespace, qtbot: QtBot) -> None:
    parts.engine.gate = threading.Event()
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: bool(parts.engine.asked))
    parts.prediction_queue.close()
    assert not any(thread.name == "medseg-worker" and thread.is_alive() for thread in threading.enumerate())


@pytest.mark.parametrize("where", ["record_prediction", "predict"])
def test_a_full_disk_while_the_result_is_stored_is_a_failure_with_a_reason(
    parts: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    failures: list[str] = []
    parts.prediction_queue.failed.connect(lambda _request, text: failures.append(text))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if where == "predict":  # the file, written in the thread
        monkeypatch.setattr(review, "write_case_labels", refuse)
    else:  # the row, written by the window
        monkeypatch.setattr(parts.ws.project, "insert", refuse)
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert len(failures) == 1
    assert "No space left on device" in failures[0]
    assert not parts.heard


def test_a_bug_is_a_failure_too_and_ends_the_request(
    parts: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    parts.prediction_queue.failed.connect(lambda _request, text: failures.append(text))
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    parts.engine.error = ValueError("a fault of ours")
    parts.prediction_queue.predict(request(parts, 0))
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    assert failures == [""], "its traceback is shown by napari"


def test_cancel_does_not_wait_for_an_image_that_is_being_read(
    parts: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read_slowly(*_: object) -> object:
        reading.set()
        go_on.wait()
        return parts.images[0]

    monkeypatch.setattr(cases, "load_image", read_slowly)
    parts.prediction_queue.predict(PredictionRequest(parts.cases[0], "lungs-unet@1"))
    assert reading.wait(60)
    parts.prediction_queue.cancel()
    assert parts.prediction_queue.running_request is None
    parts.prediction_queue.predict(request(parts, 1))
    qtbot.waitUntil(lambda: parts.prediction_queue.running_request is None)
    go_on.set()
    qtbot.wait(50)
    assert parts.engine.asked == ["slice 1"]
    assert [case_id for case_id, _ in parts.heard] == [parts.cases[1].id]
