"""The reviewed region of an image. Pixels outside it are used neither for training nor for evaluation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.snapshot import Box, SnapshotItem


@dataclass(frozen=True)
class ReviewedPart:
    """The reviewed part of an image; fields as in `core.snapshot.SnapshotItem`, but the mask is a full path."""

    reviewed: Box | None = None
    reviewed_mask: Path | None = None
    mask_sha256: str = ""
    ignored_value: int | None = None

    def compute_ignore_mask(self, labels: NDArray[np.integer], image: Image) -> NDArray[np.bool_]:
        """Return a mask of the pixels to ignore, with the shape of the labels, (y, x) or (z, y, x).

        Raises
        ------
        MedSegError
            If the box or the mask does not fit the image, or the reviewed region is empty.
        """
        unseen = np.zeros(labels.shape, bool) if self.ignored_value is None else labels == self.ignored_value
        if self.reviewed is not None:
            box = self.reviewed
            if box.bottom > labels.shape[-2] or box.right > labels.shape[-1]:
                raise MedSegError(
                    f"the reviewed box of {image.name} ends at row {box.bottom} and column {box.right}, outside its "
                    f"plane of {labels.shape[-2]} x {labels.shape[-1]} pixels. Use the box of this image."
                )
            outside = np.ones(labels.shape[-2:], bool)
            outside[box.top : box.bottom, box.left : box.right] = False
            unseen |= outside
        if self.reviewed_mask is not None:
            unseen |= ~self._read_mask(self.reviewed_mask, labels, image)
        if unseen.all():
            raise MedSegError(f"the reviewed region of {image.name} is empty. Exclude the image.")
        return unseen

    def _read_mask(self, path: Path, labels: NDArray[np.integer], image: Image) -> NDArray[np.bool_]:
        if self.mask_sha256 and path.exists() and compute_file_sha256(path) != self.mask_sha256:
            raise MedSegError(
                f"the reviewed mask {path.name} of {image.name} changed after the snapshot was frozen. "
                "Restore the file, or make a new run."
            )
        mask = formats.read_labels(path, None, expected_shape=labels.shape) > 0
        if mask.shape not in (labels.shape, labels.shape[-2:]):
            raise MedSegError(
                f"the reviewed mask {path.name} of shape {mask.shape} does not fit {image.name} of shape "
                f"{labels.shape}. Write a mask of the same size, for one plane or for all planes."
            )
        return np.broadcast_to(mask, labels.shape)


def get_reviewed_part(item: SnapshotItem, root: Path) -> ReviewedPart | None:
    """Return the reviewed part of an item, or `None` if all of it is reviewed; `root` is the folder of the snapshot."""
    if not item.is_partial:
        return None
    mask = root / item.reviewed_mask if item.reviewed_mask else None
    return ReviewedPart(item.reviewed, mask, item.reviewed_sha256, item.ignored_value)
