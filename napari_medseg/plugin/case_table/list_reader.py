"""Reads a large list step by step, between which the window reacts."""

import time
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.workflow.case_list.case_list import CaseList

READ_EVERY_MS = 5
READ_FOR_S = 0.02
"""Of the processor, at least, in one turn of the window: while it starts, other work takes long between two turns."""


class ListReader(QObject):
    """Reads one list at a time; `ended` is emitted when all its cases are read."""

    ended = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._case_list: CaseList | None = None
        self._then: Callable[[], None] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(READ_EVERY_MS)
        self._timer.timeout.connect(self._read_step)

    def read(self, case_list: CaseList) -> None:
        """Read a list from now on, instead of the one before."""
        self._case_list = case_list
        self._timer.start()

    def call_when_read(self, call: Callable[[], None]) -> None:
        """Call `call` once when the list is read: at once if it is."""
        if self._case_list is None or self._case_list.is_complete:
            call()
        else:
            self._then = call

    def stop(self) -> None:
        """Read no further."""
        self._timer.stop()

    def _read_step(self) -> None:
        if self._case_list is not None and not self._case_list.is_complete:
            began = time.thread_time()
            while not self._case_list.is_complete and time.thread_time() < began + READ_FOR_S:
                self._case_list.read_step()
            self._timer.start()
            return
        call, self._then = self._then, None
        self.ended.emit()
        if call is not None:
            call()
