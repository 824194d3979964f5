"""Labels are saved one case after the other; nothing that was begun is lost, whatever fails or closes."""

import threading
from collections.abc import Generator, Iterator

import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.plugin.drafts.save_queue import SaveQueue
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def accepted(ws: Workspace) -> list[Case]:
    return cases.add_cases(ws, [phantom(number) for number in range(3)], "lungs")


@pytest.fixture
def queue(qtbot: QtBot) -> Iterator[SaveQueue]:
    parent = QObject()
    yield SaveQueue(parent)
    parent.deleteLater()


def save(name: str, said: list[str], goes_on: threading.Event | None = None, error: str = "") -> Generator[str]:
    said.append(f"begin {name}")
    if goes_on is not None:
        assert goes_on.wait(60)
    if error:
        raise MedSegError(error)
    yield name


def test_cases_are_saved_in_their_order_and_one_that_fails_stops_no_other(
    qtbot: QtBot, queue: SaveQueue, accepted: list[Case]
) -> None:
    said, goes_on = list[str](), threading.Event()
    for number, case in enumerate(accepted):
        error = "the disk is full" if number == 1 else ""
        work = save(str(number), said, goes_on, error)
        queue.add(case, work, lambda name: said.append(f"saved {name}"), lambda problem: said.append(str(problem)))
    assert (queue.n_cases, queue.is_saving(accepted[2])) == (3, True)
    goes_on.set()
    qtbot.waitUntil(lambda: not queue.is_running)
    assert said == ["begin 0", "saved 0", "begin 1", "the disk is full", "begin 2", "saved 2"]


def test_what_waits_for_a_case_is_called_when_that_one_is_saved(
    qtbot: QtBot, queue: SaveQueue, accepted: list[Case]
) -> None:
    said, goes_on = list[str](), threading.Event()
    for number in (0, 1):
        queue.add(accepted[number], save(str(number), said, goes_on), said.append, said.append)
    queue.call_when_saved(accepted[0], lambda: said.append("never"))
    queue.call_when_saved(accepted[1], lambda: said.append(f"opened, {queue.n_cases} left"))
    goes_on.set()
    qtbot.waitUntil(lambda: "opened, 0 left" in said)
    assert said == ["begin 0", "0", "begin 1", "1", "opened, 0 left"]


def test_closing_saves_all_and_opens_nothing(qtbot: QtBot, queue: SaveQueue, accepted: list[Case]) -> None:
    said, goes_on = list[str](), threading.Event()
    for number, case in enumerate(accepted):
        queue.add(case, save(str(number), said, goes_on), lambda name: said.append(f"saved {name}"), said.append)
    queue.call_when_saved(accepted[2], lambda: said.append("opened"))
    threading.Timer(0.1, goes_on.set).start()
    queue.finish()
    assert [line for line in said if "begin" not in line] == ["saved 0", "saved 1", "saved 2"]
