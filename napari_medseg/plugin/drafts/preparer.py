"""Opens reviews: the draft is loaded, and all that its layer needs is prepared, in a thread if it takes long."""

import math
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.drafts.closer import MAX_VOXELS_AT_ONCE, DraftCloser
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow.draft_opening import ReviewStart, begin_review, load_draft
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True, eq=False)
class PreparedLabels:
    """All that the editing of labels needs and that takes time for a large image; made in a worker thread.

    Parameters
    ----------
    draft
        The draft on disk.
    shown
        The layer's own copy of its labels.
    fullest_plane
        Plane of a volume with the most labels, which is shown first; `None` without labels.
    free_number
        In an instance task a number that no object has, else 0.
    """

    draft: Draft
    shown: NDArray[Any]
    fullest_plane: int | None
    free_number: int


def prepare_labels(start: ReviewStart, task: Task, labels: NDArray[Any] | None = None) -> PreparedLabels:
    """Load the draft of a review and what its layer needs; `labels` and errors as of `load_draft`."""
    draft = load_draft(start, labels)
    free = find_free_numbers(draft.labels)[0] if task.instances else 0
    return PreparedLabels(draft, draft.labels.copy(), layers.find_fullest_plane(draft.labels), free)


class LabelsAhead:
    """Predicted labels that were read before their case is opened, each until it is taken."""

    def __init__(self) -> None:
        self._labels: dict[int, NDArray[Any]] = {}  # by prediction

    def __contains__(self, prediction: Prediction | None) -> bool:
        return prediction is not None and prediction.id in self._labels

    def put(self, prediction: Prediction, labels: NDArray[Any]) -> None:
        """Keep the labels of a prediction; nobody may change them."""
        self._labels[prediction.id] = labels

    def take(self, prediction: Prediction | None) -> NDArray[Any] | None:
        """Return the labels of a prediction if they were read, and let go of them."""
        return None if prediction is None else self._labels.pop(prediction.id, None)

    def keep(self, wanted: Collection[Prediction]) -> None:
        """Let go of all others."""
        ids = {prediction.id for prediction in wanted}
        self._labels = {known: labels for known, labels in self._labels.items() if known in ids}


class LabelsPreparer:
    """Opens reviews: at once if their labels are small, else in a thread.

    Parameters
    ----------
    workspace, work
        The project, and what runs the thread.
    closer
        A review is opened only after it has closed the draft that the case had before.
    ahead
        Labels that need not be read again.
    """

    def __init__(self, workspace: Workspace, work: SingleWork, closer: DraftCloser, ahead: LabelsAhead) -> None:
        self._workspace = workspace
        self._work = work
        self._closer = closer
        self._ahead = ahead
        self._lock = threading.Lock()  # a draft may be loaded again while a thread, whose result is dropped, loads it

    def prepare(self, case: Case, prediction: Prediction | None) -> PreparedLabels:
        """Open the review of a case at once, however large its labels are; a person waits for it."""
        start, task = begin_review(self._workspace, case, prediction), self._workspace.tasks.get_task(case.task)
        self._closer.wait(case)
        with self._lock:
            return prepare_labels(start, task)

    def run(
        self,
        case: Case,
        prediction: Prediction | None,
        labels: NDArray[Any] | None,
        then: Callable[[PreparedLabels], None],
        on_failure: Callable[[], None],
    ) -> None:
        """Open the review of a case and call `then` with its labels, or `on_failure` after an error.

        `labels` are those of `prediction` if they are in memory.
        """
        ahead = self._ahead.take(prediction)
        labels = ahead if labels is None else labels
        with ExitStack() as failing:
            failing.callback(on_failure)
            start = begin_review(self._workspace, case, prediction)
            task = self._workspace.tasks.get_task(case.task)
            is_large = math.prod(case.spatial_shape) > MAX_VOXELS_AT_ONCE
            if not is_large:
                self._closer.wait(case)
            prepared = None if is_large else prepare_labels(start, task, labels)
            failing.pop_all()
        if prepared is None:
            self._work.run(self._iterate_prepared(start, task, labels), then, on_failure)
        else:
            then(prepared)

    def _iterate_prepared(
        self, start: ReviewStart, task: Task, labels: NDArray[Any] | None
    ) -> Generator[PreparedLabels]:
        self._closer.wait(start.case)
        with self._lock:
            prepared = prepare_labels(start, task, labels)
        prepared.draft.close()  # nobody may take it; the first stroke opens its journal again
        yield prepared
