"""The state of the open case, shared by its controller and the panels."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_roi_labels
from napari_medseg.core.records import Case, Prediction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layer_reuse, layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.plugin.drafts.closer import DraftCloser, EditSession
from napari_medseg.workflow import cases
from napari_medseg.workflow.accepted_files import AcceptedFiles, write_accepted_files
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


ReusableLayers = tuple[ImageLayer | None, Labels | None]


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

    def close_edit_session(self, closer: DraftCloser) -> None:
        """Let the closer record the last changes and close the draft."""
        work, self.edit_session = self.edit_session, None
        if work is not None:
            closer.close(work, keeps_draft=work is self.accepted_session)

    def lock(self, closer: DraftCloser) -> None:
        """Close the edit session, and make the labels read-only, because nothing records their strokes."""
        self.close_edit_session(closer)
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
            work.recorder.disconnect()  # what changed since is in no correction; the draft is closed
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
        has_other_unit = layers.get_display_unit(self.image) != layers.get_display_unit(following)
        if has_other_unit and len(self.image.spatial_axes) != len(following.spatial_axes):
            return None, None  # napari draws while the dimensions change, and warns of two units
        if self.borrowed or not layer_reuse.can_show_image(viewer, self.image_layer, self.case, following):
            return None, None
        labels = self.labels_layer or self.empty_layer
        if labels is None or not layer_reuse.can_show_labels(viewer, labels, self.case, self.image_layer):
            return self.image_layer, None
        return self.image_layer, labels

    def lend_layers(self, viewer: "Viewer", following: Image, layer: ImageLayer | None) -> ReusableLayers:
        """Return the layers for the following case; `layer` if it brings one. Layers of another unit are removed."""
        lent = (layer, None) if layer is not None else self.find_reusable_layers(viewer, following)
        if layers.get_display_unit(self.image) != layers.get_display_unit(following):
            self.remove_layers(viewer, lent)  # napari warns if layers in millimetres and in pixels are together
        return lent

    def load_roi_labels(self) -> NDArray[Any] | None:
        """Return the ROI labels on the grid of the image, or `None`. Call it in a worker thread: it reads a file."""
        if self._roi_labels is None and self.roi_file is not None:
            self._roi_labels = read_roi_labels(self.roi_file, self.case)
        return self._roi_labels

    @property
    def is_edited(self) -> bool:
        """Whether the user changed labels in this review.

        It is called after every stroke. `Draft.edited` is too slow for this with many strokes.
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
    workspace: Workspace, current: OpenCase, shown: NDArray[Any], draft: Draft
) -> Generator[tuple[NDArray[Any], AcceptedFiles]]:
    """Yield a copy of the labels that are shown, and the files of the accepted review; in a thread."""
    task = workspace.tasks.get_task(current.case.task)
    labels = shown.copy()
    folder = workspace.project.folder
    proposed = draft.predicted if draft.model else None
    region = draft.review_region
    yield labels, write_accepted_files(folder, task, current.case, labels, current.image, region, proposed)


def show_labels(
    viewer: "Viewer", current: OpenCase, labels: NDArray[Any], free_number: int, task: Task, tools: dict[str, Any]
) -> Labels:
    """Show labels to edit in the layer of a case, or in a new one with these tools; return the layer."""
    if (layer := current.labels_layer) is None:
        layer = current.show_labels(viewer, labels)
        labels_tools.apply_tools(layer, tools, task, free_number)
    else:
        layer_reuse.set_data(layer, labels)  # napari makes a layer with new data editable
        if task.instances and layer.selected_label:
            layer.selected_label = free_number
    return layer


def release_image(viewer: "Viewer", layer: ImageLayer | None, borrowed: bool) -> None:
    """Remove the image layer of a case that could not be opened; a layer of the user stays, and has no case."""
    if layer is not None and borrowed:
        layers.detach_case(layer)
    elif layer is not None:
        layers.remove(viewer, layer)
