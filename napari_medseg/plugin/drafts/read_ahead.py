"""Images of the cases that will be opened next, read in a thread while a person works on the open one."""

from collections.abc import Generator
from math import prod
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.controllers.worklist import Worklist

MAX_VOXELS = 200_000_000
"""Larger images are read when they are opened: two of them beside the open one would take too much memory."""


class ReadAhead(QObject):
    """Keeps the image of the case that Accept opens, and of the one that D opens; no others.

    Parameters
    ----------
    workspace, case_controller, prediction_queue
        The project, the open case, and the predictions, for which images are read, too.
    worklist
        Tells which cases come next.
    """

    def __init__(
        self,
        workspace: Workspace,
        case_controller: CaseController,
        prediction_queue: PredictionQueue,
        worklist: "Worklist",
    ) -> None:
        super().__init__(worklist)
        self._workspace = workspace
        self._case_controller = case_controller
        self._worklist = worklist
        self._images: dict[int, Image] = {}
        self._failed: set[int] = set()
        self._worker: Worker | None = None
        worklist.changed.connect(self._read_next)
        prediction_queue.image_loaded.connect(self._on_read)

    def take(self, case: Case) -> Image | None:
        """Return the image of a case if it was read, and let go of it."""
        return self._images.pop(case.id, None)

    def close(self) -> None:
        """Read no more."""
        self._worklist.changed.disconnect(self._read_next)
        if self._worker is not None:
            self._worker.stop()

    def _list_wanted(self) -> list[Case]:
        current = self._case_controller.current
        if current is None:
            return []
        ahead = [row.case for row in self._worklist.list_ahead(1)]
        below = self._worklist.case_list.find_beside(current.case.id, 1)
        wanted = {case.id: case for case in [*ahead, below] if case is not None and case.id != current.case.id}
        return [case for case in wanted.values() if prod(case.shape) <= MAX_VOXELS and case.id not in self._failed]

    def _read_next(self) -> None:
        if self._case_controller.is_busy:  # the image that a person waits for comes first
            return
        wanted = self._list_wanted()
        ids = [case.id for case in wanted]
        self._images = {case_id: image for case_id, image in self._images.items() if case_id in ids}
        missing = next((case for case in wanted if case.id not in self._images), None)
        if missing is None or self._worker is not None:
            return
        self._worker = Worker(_load(self._workspace, missing), self)
        self._worker.yielded.connect(lambda image: self._on_read(missing, image))
        self._worker.failed.connect(lambda _error: self._failed.add(missing.id))  # it is told when the case is opened
        self._worker.ended.connect(self._on_ended)
        self._worker.start()

    def _on_read(self, case: Case, image: Image) -> None:
        if case.id in [wanted.id for wanted in self._list_wanted()]:
            self._images[case.id] = image

    def _on_ended(self) -> None:
        self._worker = None
        self._read_next()


def _load(workspace: Workspace, case: Case) -> Generator[Image]:
    yield cases.load_image(workspace, case)
