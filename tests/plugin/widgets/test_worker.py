import errno
import subprocess
import sys
import threading
from collections.abc import Generator
from typing import Any

from pytestqt.qtbot import QtBot
from qtpy import compat
from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.widgets.worker import Worker


def collected(worker: Worker) -> tuple[list[Any], list[Any]]:
    items: list[Any] = []
    errors: list[Any] = []
    worker.yielded.connect(lambda item: items.append((item, threading.current_thread() is threading.main_thread())))
    worker.failed.connect(errors.append)
    return items, errors


def test_items_are_made_in_a_thread_and_delivered_on_the_main_one(qtbot: QtBot) -> None:
    made_in: list[threading.Thread] = []

    def work() -> Generator[int]:
        made_in.append(threading.current_thread())
        yield 1
        yield 2

    worker = Worker(work())
    items, errors = collected(worker)
    with qtbot.waitSignal(worker.ended):
        worker.start()
    assert items == [(1, True), (2, True)]
    assert not errors
    assert made_in[0] is not threading.main_thread()


def test_an_error_a_person_can_act_on_is_delivered_and_the_job_ends(qtbot: QtBot) -> None:
    def work() -> Generator[int]:
        yield 1
        raise MedSegError("no room. Make room.")

    worker = Worker(work())
    items, errors = collected(worker)
    with qtbot.waitSignal(worker.ended):
        worker.start()
    assert len(items) == 1
    assert str(errors[0]) == "no room. Make room."


def test_a_stopped_job_delivers_nothing_more_and_closes_its_generator(qtbot: QtBot) -> None:
    goes_on, closed = threading.Event(), threading.Event()

    def work() -> Generator[int]:
        try:
            goes_on.wait(5)
            yield 1
            yield 2
        finally:
            closed.set()

    worker = Worker(work())
    items, _ = collected(worker)
    worker.start()
    worker.stop()
    with qtbot.waitSignal(worker.ended):
        goes_on.set()
    assert closed.is_set()
    assert not items
    assert worker.wait(1.0)
    assert not worker.is_running


def test_a_full_disk_is_delivered_as_a_message(qtbot: QtBot) -> None:
    def work() -> Generator[int]:
        yield 1
        raise OSError(errno.ENOSPC, "No space left on device", "labels.tif")

    worker = Worker(work())
    items, errors = collected(worker)
    with qtbot.waitSignal(worker.ended):
        worker.start()
    assert items == [(1, True)]
    assert [str(error) for error in errors] == [
        "labels.tif: No space left on device. Free disk space, or choose another disk."
    ]
    assert isinstance(errors[0], MedSegError)


def test_the_window_has_a_turn_between_two_items(qtbot: QtBot) -> None:
    """Hundreds of images that are ready must not hold the window up until the last one is in the list."""
    heard: list[str] = []
    worker = Worker(iter_numbers(20))
    timer = QTimer()
    timer.timeout.connect(lambda: heard.append("turn"))
    worker.yielded.connect(lambda _item: heard.append("item"))
    worker.start()
    assert worker.wait(30)
    assert worker.n_waiting == 21, "twenty items, and the end"
    timer.start(0)
    with qtbot.waitSignal(worker.ended):
        pass
    timer.stop()
    assert heard.count("item") == 20
    assert "item, item" not in ", ".join(heard)


def iter_numbers(n_items: int) -> Generator[int]:
    yield from range(n_items)


DELETES_WORKERS_THAT_POST = """
import sys, time
from qtpy.QtCore import QCoreApplication, QEvent, QObject
from napari_medseg.plugin.widgets.worker import Worker

sys.setswitchinterval(1e-5)
app = QCoreApplication([])
for n in range(150):
    parent = QObject()
    for _ in range(4):
        Worker((i for i in range(300)), parent).start()
    time.sleep(0.0005 * (n % 20))
    app.processEvents()
    parent.deleteLater()
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
print("went on")
"""


def test_a_worker_that_is_deleted_while_its_thread_posts_does_not_crash_the_program() -> None:
    """Closing a project did so; the crash is one of the process, so another process risks it."""
    done = subprocess.run(
        [sys.executable, "-c", DELETES_WORKERS_THAT_POST], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "went on"), done.stderr


def test_a_worker_whose_parent_is_deleted_stops_at_the_next_item(qtbot: QtBot) -> None:
    goes_on, closed = threading.Event(), threading.Event()

    def work() -> Generator[int]:
        try:
            yield 1
            goes_on.wait(5)
            while True:
                yield 2
        finally:
            closed.set()

    parent = QObject()
    worker = Worker(work(), parent)
    items, _ = collected(worker)
    with qtbot.waitSignal(worker.yielded):
        worker.start()
    parent.deleteLater()
    qtbot.waitUntil(lambda: not compat.isalive(worker))
    goes_on.set()
    qtbot.waitUntil(closed.is_set)
    assert len(items) == 1
