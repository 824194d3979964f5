"""Which part of an image a person looked at: the rest is neither learnt from nor judged by."""

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
    """What of an image counts; fields as in `core.snapshots.SnapshotItem`, the mask as a path that can be opened."""

    reviewed: Box | None = None
    reviewed_mask: Path | None = None
    mask_sha256: str = ""
    ignored_value: int | None = None

    def compute_ignore_mask(self, labels: NDArray[np.integer], image: Image) -> NDArray[np.bool_]:
        """Return what does not count, of the labels' shape, (y, x) or (z, y, x).

        Raises
        ------
        MedSegError
            If the box or the mask does not lie on the image, or nothing of it counts.
        """
        unseen = np.zeros(labels.shape, bool) if self.ignored_value is None else labels == self.ignored_value
        if self.reviewed is not None:
            box = self.reviewed
            if box.bottom > labels.shape[-2] or box.right > labels.shape[-1]:
                raise MedSegError(
                    f"the reviewed box of {image.name}, to row {box.bottom} and column {box.right}, leaves its "
                    f"plane of {labels.shape[-2]} x {labels.shape[-1]} pixels. Use the box of this image."
                )
            outside = np.ones(labels.shape[-2:], bool)
            outside[box.top : box.bottom, box.left : box.right] = False
            unseen |= outside
        if self.reviewed_mask is not None:
            unseen |= ~self._read_mask(self.reviewed_mask, labels, image)
        if unseen.all():
            raise MedSegError(f"no pixel of {image.name} counts: nobody looked at any. Leave the image out.")
        return unseen

    def _read_mask(self, path: Path, labels: NDArray[np.integer], image: Image) -> NDArray[np.bool_]:
        if self.mask_sha256 and path.exists() and compute_file_sha256(path) != self.mask_sha256:
            raise MedSegError(
                f"the reviewed mask {path.name} of {image.name} changed after the snapshot was frozen. "
                "Restore the file, or make a new run."
            )
        mask = formats.read_labels(path, None) > 0
        if mask.shape not in (labels.shape, labels.shape[-2:]):
            raise MedSegError(
                f"the reviewed mask {path.name} of shape {mask.shape} does not lie on {image.name} of shape "
                f"{labels.shape}. Write one of the same size, for a plane or for all of them."
            )
        return np.broadcast_to(mask, labels.shape)


def get_reviewed_part(item: SnapshotItem, root: Path) -> ReviewedPart | None:
    """Return what of an item counts, `None` where all of it does; `root` is the folder of the snapshot."""
    if not item.is_partial:
        return None
    mask = root / item.reviewed_mask if item.reviewed_mask else None
    return ReviewedPart(item.reviewed, mask, item.reviewed_sha256, item.ignored_value)
