"""A dropped mask beside the labels of the open case: a layer of the differences, and Dice, which follow the strokes."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.keymap import UNDO_KEY, get_key_title
from napari_medseg.plugin.masks.differences_layer import LEGEND, DifferencesLayer
from napari_medseg.plugin.masks.mask_question import MaskQuestion
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.masks.comparison import LabelComparison, compare_labels
from napari_medseg.workflow.masks.read_pair import ReadMask

if TYPE_CHECKING:
    from napari import Viewer

REFRESH_MS = 400
"""Time without a stroke after which the differences are computed again."""


class Compared(NamedTuple):
    """A mask that is compared with the labels of a case."""

    current: OpenCase
    path: Path
    read: ReadMask


class MaskComparison(QObject):
    """Shows where a mask and the labels differ, in a thread, again after each change of the labels.

    Parameters
    ----------
    viewer, case_controller, question
        The window, the open case, and where Dice is said.
    get_task
        Returns the task of the open case.
    take
        Called with the mask if a person takes it.
    """

    def __init__(
        self,
        viewer: "Viewer",
        case_controller: CaseController,
        question: MaskQuestion,
        get_task: Callable[[], Task],
        take: Callable[[OpenCase, Path, ReadMask], None],
    ) -> None:
        super().__init__()
        self._case_controller = case_controller
        self._question = question
        self._get_task = get_task
        self._take = take
        self._compared: Compared | None = None
        self._said = ""
        self._work = SingleWork(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._compute)
        self.differences = DifferencesLayer(viewer, case_controller)
        case_controller.opened.connect(self._on_opened)
        case_controller.labels_changed.connect(self._on_labels_changed)

    def begin(self, current: OpenCase, path: Path, read: ReadMask) -> None:
        """Compare a mask with the labels of the open case."""
        self._compared = Compared(current, path, read)
        self._compute()

    def end(self) -> None:
        """Remove the layer, and compare no more."""
        self._timer.stop()
        self._work.stop()
        self._compared = None
        self.differences.clear()

    def _on_opened(self) -> None:
        if self._question.text == self._said:
            self._question.hide()
        self.end()

    def _on_labels_changed(self) -> None:
        if self._compared is not None and self.differences.layer is None:
            self.end()  # a person removed it
        elif self._compared is not None:
            self._timer.start()

    def _compute(self) -> None:
        if self._compared is None:
            return
        if self._work.is_running:
            self._timer.start()
            return
        current, read = self._compared.current, self._compared.read
        layer = current.labels_layer
        mine = np.zeros(current.image.spatial_shape, np.uint8) if layer is None else np.array(layer.data)
        show = partial(self._show, self._compared)
        self._work.run(_compare(mine, read.labels, self._get_task()), show, lambda: None)

    def _show(self, compared: Compared, comparison: LabelComparison) -> None:
        if compared is not self._compared:
            return
        is_new = self.differences.layer is None
        self.differences.show(compared.current, comparison)
        text = f"{comparison.text}. Your labels against {compared.path.name}. {LEGEND}"
        if is_new:
            self._ask(compared, text)
        elif self._question.text == self._said:  # not over another question
            self._question.change_text(text)
            self._said = text

    def _ask(self, compared: Compared, text: str) -> None:
        """Say Dice of each label; it stays until the user takes the mask or ends the comparison."""
        take = partial(self._take, *compared)
        answers: list[tuple[str, str, Callable[[], None]]] = [
            ("End comparison", "Remove the layer of the differences", self.end),
            ("Take the mask", f"Replace the labels by the mask; {get_key_title(UNDO_KEY)} takes it back", take),
        ]
        self._question.ask_again(text, answers)
        self._said = self._question.text


def _compare(mine: NDArray[Any], theirs: NDArray[Any], task: Task) -> Generator[LabelComparison]:
    yield compare_labels(mine, theirs, task)
