"""What lies on the desk: the words that the desk and the panels share."""

from dataclasses import dataclass

from napari.layers import Image as ImageLayer
from napari.layers import Labels

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.plugin.recorder import StrokeRecorder
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
    """

    case: Case
    image: Image
    image_layer: ImageLayer
    decided: str
    borrowed: bool = False
    labels_layer: Labels | None = None
    work: Work | None = None

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
