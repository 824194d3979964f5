"""Runs long work in a thread and delivers its results to the main thread."""

import threading
from collections.abc import Generator
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_medseg.core.errors import MedSegError, translate_errors


class Worker(QObject):
    """Iterates over a generator in a separate thread and delivers each item to the main thread.

    Parameters
    ----------
    work
        Generator to run. It must use neither the viewer nor the project database.
    parent
        Qt parent; it keeps the worker alive.

    Notes
    -----
    `yielded` carries each item and `failed` a `MedSegError`, also for errors of files, disks, memory and libraries.
    `ended` is always emitted at the end.
    """

    yielded = Signal(object)
    failed = Signal(object)
    ended = Signal()
    _posted = Signal(str, object)

    def __init__(self, work: Generator[Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work
        self._stopped = False
        self._posted.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._thread = threading.Thread(target=self._run, name="medseg-worker", daemon=True)

    def start(self) -> "Worker":
        """Start the thread; return self."""
        self._thread.start()
        return self

    @property
    def is_running(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Deliver nothing more and stop at the next item. The owner must cancel work that blocks inside an item."""
        self._stopped = True

    def wait(self, timeout_s: float) -> bool:
        """Block until the thread has ended, at most `timeout_s` seconds; return whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with translate_errors():
                for item in self._work:
                    if self._stopped:
                        break
                    self._post("yielded", item)
        except MedSegError as error:  # other exceptions are bugs; napari shows them with a traceback
            self._post("failed", error)
        finally:
            try:
                self._work.close()  # immediately, because the generator may hold the lock of the engine
            finally:
                self._post("ended", None)

    def _post(self, what: str, item: object) -> None:
        try:
            self._posted.emit(what, item)
        except RuntimeError:  # the window and this object were deleted
            self._stopped = True

    def _deliver(self, what: str, item: object) -> None:
        if what == "ended":
            self.ended.emit()
            self.deleteLater()  # many strokes create thousands of workers
        elif not self._stopped:
            (self.yielded if what == "yielded" else self.failed).emit(item)
