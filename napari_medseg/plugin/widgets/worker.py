"""Long work in a thread, its results on the main thread: workers compute, the main thread remembers."""

import threading
from collections.abc import Generator
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_medseg.core.errors import MedSegError


class Worker(QObject):
    """Walk through a generator in a thread of its own and hand each item to the main thread.

    Parameters
    ----------
    work
        What to do; it must touch neither viewer nor store.
    parent
        Qt parent, which keeps the worker alive.

    Notes
    -----
    `yielded` carries each item, `failed` a `MedSegError`, and `ended` closes every worker, whatever happened.
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
        """Begin; return self."""
        self._thread.start()
        return self

    @property
    def is_running(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Deliver nothing more, and end at the next item. What blocks inside an item must be cancelled by its owner."""
        self._stopped = True

    def wait(self, timeout_s: float) -> bool:
        """Block until the thread has ended, at most `timeout_s` seconds; return whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for item in self._work:
                if self._stopped:
                    break
                self._post("yielded", item)
        except MedSegError as error:  # anything else is a bug: napari's hook shows it with its traceback
            self._post("failed", error)
        finally:
            self._work.close()  # at once, not when the garbage is collected: it may hold the engine's turn
            self._post("ended", None)

    def _post(self, what: str, item: object) -> None:
        try:
            self._posted.emit(what, item)
        except RuntimeError:  # the window, and this object with it, is gone
            self._stopped = True

    def _deliver(self, what: str, item: object) -> None:
        if what == "ended":
            self.ended.emit()
            self.deleteLater()  # a day of strokes makes thousands of workers
        elif not self._stopped:
            (self.yielded if what == "yielded" else self.failed).emit(item)
