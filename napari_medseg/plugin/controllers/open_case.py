"""The state of the open case, shared by its controller and the panels."""

import math
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_roi_labels
from napari_medseg.core.project.review_region import ReviewRegion
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layer_reuse, layers
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.plugin.widgets.worker import SingleWork
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.draft_opening import ReviewStart, begin_review, load_draft
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


ReusableLayers = tuple[ImageLayer | None, Labels | None]
MAX_VOXELS_AT_ONCE = 1 << 22
"""Labels of more voxels are prepared in a thread; below, the thread would cost more than it saves."""


@dataclass(frozen=True, eq=False)
class EditSession:
    """An open review: the draft on disk, the layer that shows it, and the recorder that connects both."""

    draft: Draft
    layer: Labels
    recorder: StrokeRecorder


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


class LabelsPreparer:
    """Opens reviews: at once if their labels are small, else in a thread.

    Parameters
    ----------
    workspace, work
        The project, and what runs the thread.
    """

    def __init__(self, workspace: Workspace, work: SingleWork) -> None:
        self._workspace = workspace
        self._work = work
        self._lock = threading.Lock()  # a draft may be loaded again while a thread, whose result is dropped, loads it

    def prepare(self, case: Case, prediction: Prediction | None) -> PreparedLabels:
        """Open the review of a case at once, however large its labels are; a person waits for it."""
        start, task = begin_review(self._workspace, case, prediction), self._workspace.tasks.get_task(case.task)
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
        with ExitStack() as failing:
            failing.callback(on_failure)
            start = begin_review(self._workspace, case, prediction)
            task = self._workspace.tasks.get_task(case.task)
            is_large = math.prod(case.spatial_shape) > MAX_VOXELS_AT_ONCE
            prepared = None if is_large else prepare_labels(start, task, labels)
            failing.pop_all()
        if prepared is None:
            self._work.run(self._iterate_prepared(start, task, labels), then, on_failure)
        else:
            then(prepared)

    def _iterate_prepared(
        self, start: ReviewStart, task: Task, labels: NDArray[Any] | None
    ) -> Generator[PreparedLabels]:
        with self._lock:
            prepared = prepare_labels(start, task, labels)
        prepared.draft.close()  # nobody may take it; the first stroke opens its journal again
        yield prepared


@dataclass(eq=False)
class OpenCase:
    """A case in the viewer.

    Parameters
    ----------
    case, image, image_layer
        The case, its image, and the layer that shows the image.
    saved_state
        State in the case list for a case without edits: new, predicted, accepted or rejected.
    borrowed
        Whether the image layer belongs to the user or another plugin. It then stays when another case is opened.
    labels_layer
        Exists after the first prediction or blank start; it stays visible when the review is closed.
    empty_layer
        Layer of the case before, empty and read-only, which shows the labels as soon as there are some; or `None`.
    edit_session
        `None` if no review is open.
    accepted_session
        The session whose labels are being saved as a correction. Its draft stays open until the correction is recorded,
        also if the case is closed before.
    roi_file
        File with the labels of the region of interest, such as the lungs for lesions; `None` if there is none.
    """

    case: Case
    image: Image
    image_layer: ImageLayer
    saved_state: str
    borrowed: bool = False
    labels_layer: Labels | None = None
    empty_layer: Labels | None = None
    edit_session: EditSession | None = None
    accepted_session: EditSession | None = None
    roi_file: Path | None = None
    _roi_labels: NDArray[Any] | None = None

    def set_roi_file(self, roi_file: Path) -> None:
        """Set the region of interest, for example that of a new prediction."""
        self.roi_file, self._roi_labels = roi_file, None

    def set_prediction(self, prediction: Prediction | None, project_folder: Path) -> None:
        """Take over the state and the region of interest of a prediction whose labels are shown."""
        if self.saved_state == "new" and prediction is not None:
            self.saved_state = "predicted"
        if prediction is not None and prediction.field_file:
            self.set_roi_file(project_folder / prediction.field_file)

    def start_editing(self, layer: Labels, draft: Draft, on_change: Callable[[], None]) -> None:
        """Record every change of a layer in a draft, and call `on_change` after it."""
        self.labels_layer = layer
        self.edit_session = EditSession(draft, layer, StrokeRecorder(layer, draft, on_change))

    def close_edit_session(self) -> None:
        """Record the last changes and close the draft. An error of the last change is shown."""
        work, self.edit_session = self.edit_session, None
        if work is not None:
            with show_errors():
                work.recorder.close()
            if work is not self.accepted_session:
                work.draft.close()

    def lock(self) -> None:
        """Close the edit session, and make the labels read-only, because nothing records their strokes."""
        self.close_edit_session()
        if self.labels_layer is not None:
            self.labels_layer.editable = False

    def begin_saving(self, work: EditSession) -> None:
        """Make the labels of a session read-only while they are saved as a correction."""
        self.accepted_session = work
        work.layer.editable = False

    def unlock(self) -> None:
        """Make labels that were not accepted editable again; if their case was closed meanwhile, close the draft."""
        work, self.accepted_session = self.accepted_session, None
        if work is not None and work is self.edit_session:
            work.layer.editable = True
        elif work is not None:
            work.draft.close()

    def finish_review(self, state: str) -> None:
        """Close the edit session of an accepted or rejected case; its layers stay visible."""
        self.accepted_session = None
        if (work := self.edit_session) is not None:
            work.recorder.close()
            work.layer.editable = False
            layers.show_state(work.layer, self.case, state)
        self.edit_session, self.saved_state = None, state

    def remove_layers(self, viewer: "Viewer", used: Sequence[Layer | None] = ()) -> None:
        """Remove the layers of the case but those that the next one uses; a borrowed image layer stays."""
        mine = (self.labels_layer, self.empty_layer, None if self.borrowed else self.image_layer)
        layers.remove(viewer, *[layer for layer in mine if layer not in used])
        if self.borrowed:
            layers.detach_case(self.image_layer)

    def show_labels(self, viewer: "Viewer", labels: NDArray[Any]) -> Labels:
        """Show the first labels of the case, with the tools of a new layer, and return their layer."""
        layer, self.empty_layer = self.empty_layer, None
        if layer is None or layer not in viewer.layers:
            return layers.add_labels(viewer, labels, self.image_layer, self.case)
        layer_reuse.show_labels(viewer, layer, labels)
        return layer

    def set_empty_layer(self, layer: Labels | None) -> None:
        """Keep an empty labels layer of the case before for the labels of this case."""
        self.empty_layer = layer
        if layer is not None:
            layer_reuse.prepare_labels(layer, self.image_layer, self.case)

    def find_reusable_layers(self, viewer: "Viewer", following: Image) -> ReusableLayers:
        """Return the layers that can show another image and its labels, or `None`."""
        if self.borrowed or not layer_reuse.can_show_image(viewer, self.image_layer, following):
            return None, None
        labels = self.labels_layer or self.empty_layer
        if labels is None or not layer_reuse.can_show_labels(viewer, labels, following, self.image_layer):
            return self.image_layer, None
        return self.image_layer, labels

    def load_roi_labels(self) -> NDArray[Any] | None:
        """Return the ROI labels on the grid of the image, or `None`. Call it in a worker thread: it reads a file."""
        if self._roi_labels is None and self.roi_file is not None:
            self._roi_labels = read_roi_labels(self.roi_file, self.case)
        return self._roi_labels

    @property
    def is_edited(self) -> bool:
        """Whether the user changed labels in this review.

        It is called after every stroke. `Draft.edited_indices` is too slow for this with many strokes.
        """
        return (
            self.edit_session is not None
            and self.edit_session.draft.can_undo
            and self.edit_session.draft.changed_voxels > 0
        )

    @property
    def state(self) -> str:
        """State in the case list: new, predicted, draft, accepted or rejected."""
        return "draft" if self.is_edited else self.saved_state


def load_image(workspace: Workspace, case: Case) -> Generator[Image]:
    """Yield the image of a case, in a thread."""
    yield cases.load_image(workspace, case)


def write_accepted(
    workspace: Workspace, current: OpenCase, labels: NDArray[Any], region: ReviewRegion
) -> Generator[review.AcceptedFiles]:
    """Yield the files of an accepted review, in a thread."""
    task = workspace.tasks.get_task(current.case.task)
    yield review.write_accepted_files(workspace.project.folder, task, current.case, labels, current.image, region)
