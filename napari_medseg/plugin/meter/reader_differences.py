"""Shows where two readers of a case differ: the case is opened, and the differences are a layer over it."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.masks.differences_layer import DifferencesLayer
from napari_medseg.plugin.widgets.notifications import settle_messages, show_result
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.masks.comparison import (
    ONLY_MINE,
    ONLY_THEIRS,
    OTHER_LABEL,
    LabelComparison,
    compare_labels,
)
from napari_medseg.workflow.second_reader.readings import ReadTwice
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

NAMES = {ONLY_MINE: "only the first reader", ONLY_THEIRS: "only the second reader", OTHER_LABEL: "another label"}
TOPIC = "differences of two readers"
LEGEND = "Orange: only the first reader. Blue: only the second. Yellow: another label."


class ReaderDifferences(QObject):
    """Opens a case that two persons read and shows where they differ.

    Parameters
    ----------
    viewer, workspace, case_controller, worklist
        The window, the project, the controller of the open case, and the list that opens it.
    """

    def __init__(
        self, viewer: "Viewer", workspace: Workspace, case_controller: CaseController, worklist: Worklist
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._case_controller = case_controller
        self._worklist = worklist
        self._requested: ReadTwice | None = None
        self._work = SingleWork(self)
        self.layer = DifferencesLayer(viewer, case_controller)
        case_controller.opened.connect(self._on_opened)

    def show(self, read: ReadTwice) -> None:
        """Open the case of two readings, if it is not open, and show the differences."""
        self._requested = read
        current = self._case_controller.current
        if current is not None and current.case.id == read.case.id:
            self._on_opened()
        else:
            self._worklist.open(read.case)

    def close(self) -> None:
        """Stop reading, and remove the layer."""
        self._work.stop()
        self.layer.clear()

    def _on_opened(self) -> None:
        read, current = self._requested, self._case_controller.current
        if read is None or current is None or current.case.id != read.case.id:
            self._work.stop()
            settle_messages(TOPIC)  # the layer that it explains is gone
            return
        self._requested = None

        def show(comparison: LabelComparison) -> None:
            if current is self._case_controller.current:
                self.layer.show(current, comparison, NAMES)
                show_result(f"{comparison.text}. {LEGEND}", topic=TOPIC)

        self._work.run(_compare_readings(self._workspace, read), show, lambda: None)


def _compare_readings(workspace: Workspace, read: ReadTwice) -> Generator[LabelComparison]:
    folder, task = workspace.project.folder, workspace.tasks.get_task(read.case.task)
    if read.second is not None:
        first, second = (read_case_labels(folder, read.case, one) for one in (read.first, read.second))
        yield compare_labels(first, second, task)
