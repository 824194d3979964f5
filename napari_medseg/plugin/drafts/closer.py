"""Closes drafts: the last changes of their layers are recorded, in a thread if the labels are large."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.merge_labels import have_equal_labels

MAX_VOXELS_AT_ONCE = 1 << 22
"""Labels of more voxels are prepared and compared in a thread; below, the thread would cost more than it saves."""


@dataclass(frozen=True, eq=False)
class EditSession:
    """An open review: the draft on disk, the layer that shows it, and the recorder that connects both."""

    draft: Draft
    layer: Labels
    recorder: StrokeRecorder


class DraftCloser(QObject):
    """Closes the drafts of cases that are left.

    Parameters
    ----------
    parent
        Qt parent.
    on_change
        Called if a change was found that no event had told of.

    Notes
    -----
    Strokes are on disk already. What is found here are changes without an event, from the console or another plugin:
    the labels of the layer are compared with those of the draft. Meanwhile the layer may show other labels in another
    array. Before anybody opens the draft again, `wait` or `finish` is to be called.
    """

    def __init__(self, parent: QObject, on_change: Callable[[], None]) -> None:
        super().__init__(parent)
        self._on_change = on_change
        self._closing: dict[int, Worker] = {}  # by case

    def close(self, session: EditSession, *, keeps_draft: bool = False) -> None:
        """Record the last changes of a session and close its draft; an error is shown.

        The draft stays open if `keeps_draft`, because its labels are being saved as a correction.
        """
        labels = session.recorder.disconnect()
        if keeps_draft:
            return  # a thread reads it; and what is changed after Accept belongs to no correction
        is_as_before = labels.shape == session.draft.labels.shape
        if is_as_before and labels.size > MAX_VOXELS_AT_ONCE:
            self._close_in_thread(session.draft, labels)
            return
        with show_errors():
            session.recorder.record_last_changes()
        session.draft.close()

    def wait(self, case: Case) -> None:
        """Block until the draft of a case is closed, in any thread."""
        if (worker := self._closing.get(case.id)) is not None:
            worker.wait()

    def finish(self) -> None:
        """Block until all drafts are closed, and show the errors."""
        for worker in list(self._closing.values()):
            worker.finish()

    def _close_in_thread(self, draft: Draft, labels: NDArray[Any]) -> None:
        self.wait(draft.case)
        worker = Worker(_iterate_closing(draft, labels), self)

        def ended() -> None:
            if self._closing.get(draft.case.id) is worker:
                del self._closing[draft.case.id]

        worker.yielded.connect(lambda _: self._on_change())
        worker.failed.connect(show_problem)
        worker.ended.connect(ended)
        self._closing[draft.case.id] = worker
        worker.start()


def _iterate_closing(draft: Draft, labels: NDArray[Any]) -> Generator[None]:
    try:
        if not have_equal_labels(labels, draft.labels):
            draft.record_missed_changes(labels)
            yield
    finally:
        draft.close()
