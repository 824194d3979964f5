"""The open case: what its controller and the panels share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_roi_labels
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.workflow.drafts import Draft


@dataclass(frozen=True, eq=False)
class EditSession:
    """A review that is open: the draft on disk, the layer that shows it, and what ties the two together."""

    draft: Draft
    layer: Labels
    recorder: StrokeRecorder


@dataclass(eq=False)
class OpenCase:
    """A case in the viewer.

    Parameters
    ----------
    case, image, image_layer
        The case and how it is shown.
    saved_state
        The word of the case list for a case without edits: new, predicted, accepted or rejected.
    borrowed
        The image layer is somebody else's: it stays in the viewer when another case is opened.
    labels_layer
        There from the first prediction or blank start on; it stays in view when the review is closed.
    edit_session
        `None` while no review is open.
    roi_file
        Labels of its region of interest, such as the lungs for lesions; `None` where there are none.
    """

    case: Case
    image: Image
    image_layer: ImageLayer
    saved_state: str
    borrowed: bool = False
    labels_layer: Labels | None = None
    edit_session: EditSession | None = None
    roi_file: Path | None = None
    _roi_labels: NDArray[Any] | None = None

    def set_roi_file(self, roi_file: Path) -> None:
        """Take another region of interest, as that of a new prediction."""
        self.roi_file, self._roi_labels = roi_file, None

    def load_roi_labels(self) -> NDArray[Any] | None:
        """ROI labels on the image's grid, read once; `None` where there are none. For a worker thread, as it reads."""
        if self._roi_labels is None and self.roi_file is not None:
            self._roi_labels = read_roi_labels(self.roi_file, self.case)
        return self._roi_labels

    @property
    def is_edited(self) -> bool:
        """Whether a person changed labels in this review, so that they differ from what it began with.

        Asked after every stroke, hence not by `Draft.edited_indices`, which takes longer the more strokes there are.
        """
        return (
            self.edit_session is not None
            and self.edit_session.draft.can_undo
            and self.edit_session.draft.changed_voxels > 0
        )

    @property
    def state(self) -> str:
        """The word of the case list: new, predicted, draft, accepted or rejected."""
        return "draft" if self.is_edited else self.saved_state
