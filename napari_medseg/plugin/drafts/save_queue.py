"""Saves accepted labels in a thread, one case after the other, while a person works on the next one."""

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.plugin.widgets.worker import Worker


@dataclass(frozen=True, eq=False)
class _Save:
    case: Case
    work: Generator[Any]
    then: Callable[[Any], None]
    on_failure: Callable[[MedSegError], None]


class SaveQueue(QObject):
    """The cases whose labels are being saved, or wait for that; what was begun is always finished.

    Notes
    -----
    `changed` is emitted when a case was added, and when one was saved or could not be saved.
    """

    changed = Signal()
    busy_reason = "The labels are being saved"

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._saves: deque[_Save] = deque()
        self._worker: Worker | None = None
        self._waiting: tuple[Case, Callable[[], None]] | None = None

    @property
    def case_ids(self) -> frozenset[int]:
        """Ids of the cases that are not saved yet."""
        return frozenset(save.case.id for save in self._saves)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that are not saved yet, in their order."""
        return tuple(save.case for save in self._saves)

    @property
    def is_running(self) -> bool:
        """Whether a case is being saved."""
        return bool(self._saves)

    @property
    def n_cases(self) -> int:
        """How many cases are not saved yet."""
        return len(self._saves)

    def is_saving(self, case: Case) -> bool:
        """Whether the labels of a case are not saved yet."""
        return case.id in self.case_ids

    def add(
        self,
        case: Case,
        work: Generator[Any],
        then: Callable[[Any], None],
        on_failure: Callable[[MedSegError], None],
    ) -> None:
        """Run `work`, which yields one item, after the saves before; then call `then` with it, or `on_failure`."""
        self._saves.append(_Save(case, work, then, on_failure))
        self._start_next()
        self.changed.emit()

    def call_when_saved(self, case: Case, call: Callable[[], None]) -> None:
        """Call `call` when a case is saved, or could not be; it takes the place of an earlier call that waits."""
        self._waiting = case, call

    @property
    def has_call(self) -> bool:
        """Whether a call waits, as that which opens a case when it is saved."""
        return self._waiting is not None

    def forget_call(self) -> None:
        """Drop the call that waits."""
        self._waiting = None

    def finish(self) -> None:
        """Block until all cases are saved, and deliver the results; drop the call that waits."""
        self._waiting = None
        while self._worker is not None:
            self._worker.finish()

    def _start_next(self) -> None:
        if self._worker is not None or not self._saves:
            return
        save = self._saves[0]
        self._worker = Worker(save.work, self)
        self._worker.yielded.connect(lambda item: self._deliver(save, save.then, item))
        self._worker.failed.connect(lambda error: self._deliver(save, save.on_failure, error))
        self._worker.ended.connect(self._on_ended)
        self._worker.start()

    def _deliver(self, save: _Save, call: Callable[[Any], None], item: object) -> None:
        """Hand over what a save made; its case is no longer saved then, as the next one may open at once."""
        if save in self._saves:
            self._saves.remove(save)
        try:
            call(item)
        finally:
            self.changed.emit()
            if self._waiting is not None and not self.is_saving(self._waiting[0]):
                (_, waiting), self._waiting = self._waiting, None
                waiting()

    def _on_ended(self) -> None:
        self._worker = None
        self._start_next()
