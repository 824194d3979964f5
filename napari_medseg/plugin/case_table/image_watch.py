"""Shows in the list which images are missing or damaged: looked up in a thread, and again while some are missing."""

from collections.abc import Sequence

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.case_images.look_up import find_image_problems
from napari_medseg.workflow.case_images.problems import ImageFault, ImageProblem
from napari_medseg.workflow.workspace import Workspace

SHOW_EVERY_MS = 400
LOOK_AGAIN_MS = 30_000
ROWS_PER_TURN = 200
"""Rows that are changed at once, so that the window reacts when a whole drive is gone."""


class ImageWatch(QObject):
    """Looks for the images of all listed cases when their list is read, and later for those that are missing.

    A drive that is connected again is noticed within half a minute.

    Parameters
    ----------
    workspace, worklist
        The project, and its list.

    Notes
    -----
    `changed` carries the numbers of cases whose image was lost or found again.
    """

    changed = Signal(list)

    def __init__(self, workspace: Workspace, worklist: Worklist, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._worklist = worklist
        self._worker: Worker | None = None
        self._n_seen = 0
        self._shown: dict[int, ImageProblem] = {}
        self._waiting: list[int] = []
        self._show_timer, self._look_timer = QTimer(self), QTimer(self)
        self._show_timer.timeout.connect(self._show)
        self._look_timer.timeout.connect(self._look_for_missing)
        worklist.reader.ended.connect(self._look_for_all)
        self._show_timer.start(SHOW_EVERY_MS)
        self._look_timer.start(LOOK_AGAIN_MS)

    def close(self) -> None:
        """Look no more."""
        self._show_timer.stop()
        self._look_timer.stop()
        if self._worker is not None:
            self._worker.stop()

    def _look_for_all(self) -> None:
        self._look([row.case for row in self._worklist.case_list.list_rows()])

    def _look_for_missing(self) -> None:
        problems, case_list = self._workspace.image_problems, self._worklist.case_list
        rows = [row for case_id in problems if (row := case_list.get_row(case_id)) is not None]
        self._look([row.case for row in rows])

    def _look(self, cases: Sequence[Case]) -> None:
        if self._worker is not None:
            self._worker.stop()
        if cases:
            worker = self._worker = Worker(find_image_problems(self._workspace.project.folder, cases), self)
            worker.yielded.connect(self._remember)
            worker.ended.connect(lambda: self._on_ended(worker))
            worker.start()

    def _remember(self, found: Sequence[tuple[Case, ImageProblem | None]]) -> None:
        problems = self._workspace.image_problems
        for case, problem in found:
            known = problems.get(case)
            if problem is not None or (known is not None and known.fault is ImageFault.MISSING):
                problems.put(case, problem)

    def _on_ended(self, worker: Worker) -> None:
        if worker is self._worker:
            self._worker = None

    def _show(self) -> None:
        """Show what has changed, also what a thread found out that read an image."""
        problems, case_list = self._workspace.image_problems, self._worklist.case_list
        if problems.n_changes != self._n_seen:
            self._n_seen = problems.n_changes
            now = problems.copy()
            self._waiting += [number for number in {*now, *self._shown} if now.get(number) != self._shown.get(number)]
            self._shown = now
        if not self._waiting:
            return
        changed, self._waiting = self._waiting[:ROWS_PER_TURN], self._waiting[ROWS_PER_TURN:]
        case_list.update_images(changed)
        self.changed.emit(changed)
        self._worklist.update_cases([])  # schedules a refresh
