"""What lies on the desk: the words that the desk and the panels share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Image as ImageLayer
from napari.layers import Labels
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_field
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.workflow.drafts import Draft


@dataclass(frozen=True, eq=False)
class Work:
    """A review that is open: the draft on disk, the layer that shows it, and what ties the two together."""

    draft: Draft
    layer: Labels
    recorder: StrokeRecorder


@dataclass(eq=False)
class OpenCase:
    """What lies on the desk.

    Parameters
    ----------
    case, image, image_layer
        The case and how it is shown.
    decided
        The word of the case list for a case without edits: new, predicted, accepted or rejected.
    borrowed
        The image layer is somebody else's: it stays in the viewer when another case is opened.
    labels_layer
        There from the first prediction or blank start on; it stays in view when the review is closed.
    work
        `None` while no review is open.
    field_file
        Labels of the field of its prediction, as the lungs of lesions; `None` where there is none.
    """

    case: Case
    image: Image
    image_layer: ImageLayer
    decided: str
    borrowed: bool = False
    labels_layer: Labels | None = None
    work: Work | None = None
    field_file: Path | None = None
    _field: NDArray[Any] | None = None

    def look_into(self, field_file: Path) -> None:
        """Take another field, as that of a new prediction."""
        self.field_file, self._field = field_file, None

    def field_labels(self) -> NDArray[Any] | None:
        """Labels of the field on the image's grid, read once; `None` where there is none. In a thread, as it reads."""
        if self._field is None and self.field_file is not None:
            self._field = read_field(self.field_file, self.case)
        return self._field

    @property
    def edited(self) -> bool:
        """Whether a person changed labels in this review, so that they differ from what it began with.

        Asked after every stroke, hence not by `Draft.edited`, which takes longer the more strokes there are.
        """
        return self.work is not None and self.work.draft.can_undo and self.work.draft.changed_voxels > 0

    @property
    def state(self) -> str:
        """The word of the case list: new, predicted, draft, accepted or rejected."""
        return "draft" if self.edited else self.decided
