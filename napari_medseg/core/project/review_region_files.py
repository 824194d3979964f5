"""What was reviewed of an image, on disk: with a draft while it is drawn, beside the correction once it is accepted.

A correction's area is two files of one name, which no program writes again: what was reviewed as pixels (`.tif`), for
training and export, and the outlines (`.json`), so that a person can go on with them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.project.case_files import StoredLabels, read_labels_on_case_grid, write_case_labels
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.review_region import WHOLE_IMAGE, ReviewRegion

NO_REGION_FILES = StoredLabels("", "")


def write_review_region(folder: Path, case: Case, region: ReviewRegion) -> StoredLabels:
    """Write what was reviewed of a case into the project folder; nothing where it is the whole image.

    Raises
    ------
    MedSegError
        If no pixel lies inside of the area.
    """
    if region.is_whole_image:
        return NO_REGION_FILES
    seen = region.compute_mask(case.spatial_shape)
    if not seen.any():
        raise MedSegError(
            f"no pixel of {case.name} lies in the reviewed area, so that nothing of it would count. Draw the area on "
            "the image, or say that the whole image was reviewed; your labels are as they were."
        )
    if seen.all():
        return NO_REGION_FILES
    stored = write_case_labels(folder, case, "reviewed", seen.astype(np.uint8))
    outlines = (folder / stored.file).with_suffix(".json")
    if not outlines.exists():
        atomic_write_text(outlines, region.model_dump_json() + "\n")
    return stored


def read_review_region(folder: Path, case: Case, correction: Correction) -> ReviewRegion:
    """Return the area of a correction as it was drawn.

    Raises
    ------
    MedSegError
        If its file is gone or damaged.
    """
    if not correction.reviewed_file:
        return WHOLE_IMAGE
    path = (folder / correction.reviewed_file).with_suffix(".json")
    complaint = f"is gone or damaged, which says what of {case.name} was reviewed"
    return read_json_model(path, ReviewRegion, complaint, "Put it back from a backup.")


def read_reviewed_pixels(folder: Path, case: Case, correction: Correction) -> NDArray[np.bool_] | None:
    """Read what was reviewed, on the canonical grid of the labels; `None` where it is everything.

    Raises
    ------
    MedSegError
        If the file is gone or is not the one that was written.
    """
    if not correction.reviewed_file:
        return None
    path = folder / correction.reviewed_file
    if not path.exists() or compute_file_sha256(path) != correction.reviewed_sha256:
        raise MedSegError(
            f"{path}, which says what of {case.name} was reviewed, is gone or damaged. Put it back from a backup."
        )
    return read_labels_on_case_grid(path, case) > 0


def get_draft_region_path(journal: Path) -> Path:
    """Where the area of the draft with this journal lies, once one was drawn."""
    return journal.with_suffix(".area.json")


def write_draft_region(path: Path, region: ReviewRegion) -> None:
    """Write the area of a draft, in place of the one that was there; raise `MedSegError` where the disk refuses."""
    atomic_write_text(path, region.model_dump_json() + "\n")


def read_draft_region(path: Path) -> ReviewRegion | None:
    """Read the area of a draft; `None` where none was drawn.

    Raises
    ------
    MedSegError
        If the file is damaged.
    """
    if not path.exists():
        return None
    advice = "Move it away, then draw the area again; the labels are whole."
    return read_json_model(path, ReviewRegion, "is no reviewed area", advice)
