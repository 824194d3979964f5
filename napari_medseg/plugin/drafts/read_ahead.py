"""Images and labels of the cases that will be opened next, read in a thread while a person works on the open one."""

from collections.abc import Generator
from math import prod
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Case, Prediction
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.drafts.closer import MAX_VOXELS_AT_ONCE
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow import cases
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari_medseg.plugin.controllers.worklist import Worklist

MAX_VOXELS = 200_000_000
"""Larger images are read when they are opened: two of them beside the open one would take too much memory."""


class ReadAhead(QObject):
    """Keeps image and predicted labels of the case that Accept opens, and of the one that D opens; no others.

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

    def _list_wanted(self) -> list[CaseRow]:
        current, case_list = self._case_controller.current, self._worklist.case_list
        if current is None:
            return []
        below = case_list.find_beside(current.case.id, 1)
        rows = [*self._worklist.list_ahead(1), None if below is None else case_list.get_row(below.id)]
        wanted = {row.case.id: row for row in rows if row is not None and row.case.id != current.case.id}
        failed = self._failed
        return [row for row in wanted.values() if prod(row.case.shape) <= MAX_VOXELS and row.case.id not in failed]

    def _read_next(self) -> None:
        if self._case_controller.is_busy:  # the image that a person waits for comes first
            return
        wanted, ahead = self._list_wanted(), self._case_controller.labels_ahead
        ids = [row.case.id for row in wanted]
        self._images = {case_id: image for case_id, image in self._images.items() if case_id in ids}
        ahead.keep([row.prediction for row in wanted if row.prediction is not None])
        missing = next((row for row in wanted if row.case.id not in self._images or self._lacks_labels(row)), None)
        if missing is None or self._worker is not None:
            return
        case, prediction = missing.case, missing.prediction if self._lacks_labels(missing) else None
        self._worker = Worker(_load(self._workspace, case, self._images.get(case.id), prediction), self)
        self._worker.yielded.connect(lambda item: self._on_item(missing, item))
        self._worker.failed.connect(lambda _error: self._failed.add(case.id))  # it is told when the case is opened
        self._worker.ended.connect(self._on_ended)
        self._worker.start()

    def _lacks_labels(self, row: CaseRow) -> bool:
        """Whether reading the labels ahead saves time: those of small cases are read in some milliseconds."""
        is_large = prod(row.case.spatial_shape) > MAX_VOXELS_AT_ONCE
        is_predicted = row.prediction is not None and row.state == "predicted"
        return is_large and is_predicted and row.prediction not in self._case_controller.labels_ahead

    def _on_item(self, row: CaseRow, item: Image | NDArray[Any]) -> None:
        if isinstance(item, Image):
            self._on_read(row.case, item)
        elif row.prediction is not None and row.prediction in [wanted.prediction for wanted in self._list_wanted()]:
            self._case_controller.labels_ahead.put(row.prediction, item)

    def _on_read(self, case: Case, image: Image) -> None:
        if case.id in [wanted.case.id for wanted in self._list_wanted()]:
            self._images[case.id] = image

    def _on_ended(self) -> None:
        self._worker = None
        self._read_next()


def _load(
    workspace: Workspace, case: Case, image: Image | None, prediction: Prediction | None
) -> Generator[Image | NDArray[Any]]:
    if image is None:
        yield cases.load_image(workspace, case)
    if prediction is not None:
        yield read_case_labels(workspace.project.folder, case, prediction)
