"""The review region: the part of a large image that a person reviewed. The rest is not used for training.

It is a set of outlines, stored beside the draft and, rasterised, beside the correction. Coordinates are pixels of the
image's grid; the centre of pixel 0 is at 0, as in napari.
"""

import math
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text, set_aside
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.json_model import DamagedFileError, read_json_model
from napari_medseg.core.project.case_files import (
    StoredLabels,
    ensure_labels_intact,
    read_labels_on_case_grid,
    write_case_labels,
)
from napari_medseg.core.records import Case, Correction

MAX_SHARE_PIXELS = 250_000
"""Planes with more pixels are subsampled to compute the share: it is shown in per cent and updated while drawing."""
ELLIPSE_CORNERS = 128

Corner = tuple[float, float]


class RegionOutline(BaseModel):
    """One closed outline, in one plane of a volume.

    Parameters
    ----------
    corners
        (y, x) of the corners of a polygon in order, or of the four corners of the bounding rectangle of an ellipse.
    kind
        A rectangle is stored as a polygon.
    plane
        Index along z; 0 for a 2D image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corners: tuple[Corner, ...]
    kind: Literal["polygon", "ellipse"] = "polygon"
    plane: int = 0

    @classmethod
    def from_plane(cls, plane: int, height: int, width: int) -> Self:
        """Return the outline of a whole plane."""
        top, left, bottom, right = -0.5, -0.5, height - 0.5, width - 0.5
        return cls(corners=((top, left), (top, right), (bottom, right), (bottom, left)), plane=plane)

    def fill(self, plane: NDArray[np.bool_], step: int = 1) -> None:
        """Set the pixels of a plane, bool (y, x), whose centres lie inside; `step` is the subsampling of the plane."""
        rows_and_columns = (self._compute_polygon() - (step - 1) / 2) / step
        low, high = rows_and_columns.min(axis=0), rows_and_columns.max(axis=0)
        top, left = (max(0, math.ceil(place)) for place in low)
        bottom, right = (max(0, math.floor(place) + 1) for place in high)
        box = plane[top:bottom, left:right]
        box |= _rasterise_polygon(rows_and_columns - (top, left), box.shape)

    def _compute_polygon(self) -> NDArray[np.float64]:
        corners = np.array(self.corners, np.float64)
        if self.kind == "polygon":
            return corners
        angles = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, np.newaxis]
        along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        ellipse: NDArray[np.float64] = corners.mean(axis=0) + np.cos(angles) * along + np.sin(angles) * across
        return ellipse


class ReviewRegion(BaseModel):
    """The reviewed part of an image: the union of the outlines, or the whole image if there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outlines: tuple[RegionOutline, ...] = ()

    @property
    def is_whole_image(self) -> bool:
        """Whether the whole image was reviewed."""
        return not self.outlines

    def compute_mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the reviewed pixels as bool array of `shape`, (y, x) or (z, y, x)."""
        seen = np.full(shape, self.is_whole_image)
        planes = seen.reshape(-1, *shape[-2:])
        for outline in self.outlines:
            if 0 <= outline.plane < len(planes):
                outline.fill(planes[outline.plane])
        return seen

    def compute_share(self, shape: tuple[int, ...]) -> float:
        """Return the reviewed share, in [0, 1], of an image of `shape`; approximate for large images."""
        if self.is_whole_image:
            return 1.0
        n_planes, (height, width) = math.prod(shape[:-2]), shape[-2:]
        step = max(1, math.ceil(math.sqrt(height * width / MAX_SHARE_PIXELS)))
        seen = 0.0
        for plane in {outline.plane for outline in self.outlines if 0 <= outline.plane < n_planes}:
            coarse = np.zeros((math.ceil(height / step), math.ceil(width / step)), bool)
            for outline in self.outlines:
                if outline.plane == plane:
                    outline.fill(coarse, step)
            seen += float(coarse.mean())
        return seen / n_planes

    def add_planes(self, planes: list[int], height: int, width: int) -> "ReviewRegion":
        """Return a region that also has these whole planes of a volume; they replace the outlines in these planes."""
        others = [outline for outline in self.outlines if outline.plane not in planes]
        return ReviewRegion(outlines=(*others, *(RegionOutline.from_plane(plane, height, width) for plane in planes)))


WHOLE_IMAGE = ReviewRegion()


def format_share(share: float) -> str:
    """Format a share of an image in per cent; a small share is not rounded to 0 %, a large one not to 100 %."""
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{min(99, round(100 * share)) if share < 1 else 100} %"


def _rasterise_polygon(corners: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return bool (y, x) of `shape`: pixels with an odd number of polygon edges on their left (even-odd rule).

    Faster than `skimage.draw.polygon`, which tests each pixel against each edge: a lasso has hundreds of edges.
    """
    turns = np.zeros((shape[0], shape[1] + 1), np.bool_)
    for (y, x), (next_y, next_x) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        first, behind = (min(max(0, math.ceil(place)), shape[0]) for place in sorted((y, next_y)))
        if first < behind:
            rows = np.arange(first, behind)
            columns = np.ceil(x + (rows - y) * (next_x - x) / (next_y - y)).astype(np.intp)
            turns[rows, columns.clip(0, shape[1])] ^= True
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(turns[:, :-1], axis=1)
    return inside


NO_REGION_FILES = StoredLabels("", "")


def write_review_region(folder: Path, case: Case, region: ReviewRegion) -> StoredLabels:
    """Write the review region of a case into the project folder; write nothing if it is the whole image.

    Raises
    ------
    MedSegError
        If no pixel lies inside the region.
    """
    if region.is_whole_image:
        return NO_REGION_FILES
    seen = region.compute_mask(case.spatial_shape)
    if not seen.any():
        raise MedSegError(
            f"the reviewed area of {case.name} is empty. Draw the area on the image, or choose that the whole image "
            "was reviewed. Your labels were not changed."
        )
    if seen.all():
        return NO_REGION_FILES
    stored = write_case_labels(folder, case, "reviewed", seen.astype(np.uint8))
    outlines = (folder / stored.file).with_suffix(".json")
    if not outlines.exists():
        atomic_write_text(outlines, region.model_dump_json() + "\n")
    return stored


def read_review_region(folder: Path, case: Case, correction: Correction) -> ReviewRegion:
    """Read the outlines of the review region of a correction.

    Raises
    ------
    MedSegError
        If its file is missing or damaged.
    """
    if not correction.reviewed_file:
        return WHOLE_IMAGE
    path = (folder / correction.reviewed_file).with_suffix(".json")
    complaint = f"holds the reviewed area of {case.name} and is missing or damaged"
    return read_json_model(path, ReviewRegion, complaint, "Restore it from a backup.")


def read_reviewed_pixels(folder: Path, case: Case, correction: Correction) -> NDArray[np.bool_] | None:
    """Read the reviewed pixels, bool on the canonical grid of the labels; `None` for the whole image.

    Raises
    ------
    MedSegError
        If the file is missing or was changed.
    """
    if not correction.reviewed_file:
        return None
    path = folder / correction.reviewed_file
    ensure_labels_intact(path, correction.reviewed_sha256, case, f"with the reviewed area of {case.name}")
    return read_labels_on_case_grid(path, case) > 0


def get_draft_region_path(journal: Path) -> Path:
    """Return the path of the review region of the draft with this journal; the file may not exist."""
    return journal.with_suffix(".area.json")


def write_draft_region(path: Path, region: ReviewRegion) -> None:
    """Write the review region of a draft, replacing the old one; raise `MedSegError` if it cannot be written."""
    atomic_write_text(path, region.model_dump_json() + "\n")


def read_draft_region(path: Path) -> ReviewRegion | None:
    """Read the review region of a draft; `None` if none was drawn. A damaged file is set aside and reported.

    Raises
    ------
    MedSegError
        If the file cannot be read at all, or not be set aside.
    """
    if not path.exists():
        return None
    advice = "The labels are not affected. Draw the area again before you accept; else the whole image is reviewed."
    try:
        return read_json_model(path, ReviewRegion, "is not a reviewed area", advice)
    except DamagedFileError as error:
        report_damage(f"{error} The damaged file is kept as {set_aside(path).name}.")
        return None
