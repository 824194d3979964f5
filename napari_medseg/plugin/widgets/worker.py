"""Runs long work in a thread and delivers its results to the main thread."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache
from typing import Any, TypeVar

from qtpy import compat
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.plugin.widgets.notifications import show_problem

Item = TypeVar("Item")

MAX_WAITING = 8
"""Items that are made, by `wait_for_window`, before the window has taken those before."""
WAIT_S = 0.01
CRASHED = MedSegError("")  # of work that ended with a bug, whose traceback is shown already


class _Job:
    """What the thread holds of its worker: nothing of Qt, which the main thread may delete at any time."""

    def __init__(self, work: Generator[Any]) -> None:
        self._work = work
        self.is_stopped = False
        self.outbox: deque[tuple[str, object]] = deque()

    def run(self, mailbox: "_Mailbox") -> None:
        """Iterate over the work and post what it makes; this is all that the thread does."""

        def post(what: str, item: object) -> None:
            self.outbox.append((what, item))
            mailbox.posted.emit(self)

        failure: object = CRASHED
        try:
            with translate_errors():
                for item in self._work:
                    if self.is_stopped:
                        break
                    post("yielded", item)
            failure = None
        except MedSegError as error:  # other exceptions are bugs; napari shows them with a traceback
            failure = error
        finally:
            if failure is not None:
                post("failed", failure)
            try:
                self._work.close()  # immediately, because the generator may hold the lock of the engine
            finally:
                post("ended", None)


class _Mailbox(QObject):
    """Takes from all threads what they made, and hands it to their workers in the main thread.

    It lives as long as the process. A thread that emitted a signal of its own worker crashed the program when the
    worker was deleted at that moment, as a window or a project that is closed deletes it.
    """

    posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._workers: dict[_Job, Worker] = {}  # it keeps them alive until their end is delivered
        self.posted.connect(self._pass_on, Qt.ConnectionType.QueuedConnection)

    def add(self, job: _Job, worker: "Worker") -> None:
        self._workers[job] = worker

    def remove(self, job: _Job) -> None:
        self._workers.pop(job, None)

    def _pass_on(self, job: _Job) -> None:
        worker = self._workers.get(job)
        if worker is None:
            return
        if compat.isalive(worker):
            worker.on_posted()
        else:  # its parent was deleted
            job.is_stopped = True
            self.remove(job)


@cache
def _get_mailbox() -> _Mailbox:
    return _Mailbox()


class Worker(QObject):
    """Iterates over a generator in a separate thread and delivers each item to the main thread.

    Each item is delivered in a turn of the event loop of its own: however many wait, keys are handled between them.

    Parameters
    ----------
    work
        Generator to run. It must use neither the viewer nor the project database.
    parent
        Qt parent. When it is deleted, nothing more is delivered and the work stops at the next item.

    Notes
    -----
    `yielded` carries each item and `failed` a `MedSegError`, also for errors of files, disks, memory and libraries; its
    text is empty after a bug, whose traceback napari shows. `ended` is always emitted at the end.
    """

    yielded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, work: Generator[Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job = _Job(work)
        self._has_next_turn = False
        self._thread = threading.Thread(target=self._job.run, args=(_get_mailbox(),), name="medseg-worker", daemon=True)

    def start(self) -> "Worker":
        """Start the thread; return self."""
        _get_mailbox().add(self._job, self)
        self._thread.start()
        return self

    @property
    def is_running(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is delivered."""
        return self._job.is_stopped

    @property
    def n_waiting(self) -> int:
        """How many items are not delivered yet."""
        return len(self._job.outbox)

    def stop(self) -> None:
        """Deliver nothing more and stop at the next item. The owner must cancel work that blocks inside an item."""
        self._job.is_stopped = True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the thread has ended, at most `timeout_s` seconds if given; return whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Block until the thread has ended; deliver what it made now, not in the next turn of the event loop."""
        self._thread.join()
        while self._job.outbox:
            self._deliver()

    def on_posted(self) -> None:
        """Deliver the next item; the mailbox calls this in the main thread."""
        if not self._has_next_turn:
            self._deliver_in_turns()

    def _deliver_in_turns(self) -> None:
        self._has_next_turn = False
        self._deliver()
        if self._job.outbox:
            self._has_next_turn = True
            QTimer.singleShot(0, self._deliver_in_turns)

    def _deliver(self) -> None:
        if not self._job.outbox:  # delivered by `finish`
            return
        what, item = self._job.outbox.popleft()
        if what == "ended":
            _get_mailbox().remove(self._job)
            self.ended.emit()
            self.deleteLater()  # many strokes create thousands of workers
        elif not self.is_stopped:
            (self.yielded if what == "yielded" else self.failed).emit(item)


def wait_for_window(work: Generator[Item], get_worker: Callable[[], Worker]) -> Generator[Item]:
    """Go no further while the window has items of `get_worker` to take: hundreds of images may not fit into memory."""
    with closing(work):
        for item in work:
            while get_worker().n_waiting >= MAX_WAITING and not get_worker().is_stopped:
                time.sleep(WAIT_S)
            yield item


class SingleWork(QObject):
    """Runs one piece of work at a time in a thread, and delivers its one result.

    Notes
    -----
    `began` is emitted when a thread was started, `ended` when it has ended.
    """

    began = Signal()
    ended = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._worker: Worker | None = None

    @property
    def is_running(self) -> bool:
        """Whether a result is awaited."""
        return self._worker is not None

    def run(self, work: Generator[Any], then: Callable[[Any], None], on_failure: Callable[[], None]) -> None:
        """Run `work`, which yields one item; then call `then` with it, or show the error and call `on_failure`.

        Other work is stopped.
        """
        self.stop()
        worker = Worker(work, self)

        def let_go() -> None:
            if self._worker is worker:
                self._worker = None

        def delivered(item: object) -> None:
            let_go()  # before the thread ends, because the user may accept the new case immediately
            then(item)

        def failed(error: MedSegError) -> None:
            show_problem(error)
            on_failure()

        def ended() -> None:
            let_go()
            self.ended.emit()

        worker.yielded.connect(delivered)
        worker.failed.connect(failed)
        worker.ended.connect(ended)
        self._worker = worker.start()
        self.began.emit()

    def stop(self) -> None:
        """Deliver nothing of the work that is under way."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
