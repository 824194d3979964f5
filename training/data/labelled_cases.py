"""Pairs of images and reference labels, matched by file name."""

from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.discovery import get_suffix
from training.data.ignore_regions import ReviewedPart


@dataclass(frozen=True)
class LabelledCase:
    """An image with reference labels, both as files.

    `reviewed_part` is set if only a part is reviewed; `labels_sha256` is the hash of the labels in a snapshot.
    """

    name: str
    image: Path
    labels: Path
    group: str = ""
    source: str = ""
    reviewed_part: ReviewedPart | None = None
    labels_sha256: str = ""


def pair_by_stem(images: Path, labels: Path) -> list[LabelledCase]:
    """Pair images with labels of the same stem (`.nii.gz` counts as one suffix), sorted by name.

    Raises
    ------
    MedSegError
        If a folder is missing or empty, or labels have no image.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise MedSegError(f"{folder} is not a folder. Give a folder of images and a folder of labels.")
    image_of = {get_stem(path): path for path in sorted(images.iterdir()) if formats.can_read(path)}
    labels_of = {get_stem(path): path for path in sorted(labels.iterdir()) if formats.can_read(path)}
    if not labels_of:
        raise MedSegError(f"{labels} contains no labels (.png, .tif, .nii, .nii.gz). Choose another folder.")
    if orphans := sorted(labels_of.keys() - image_of.keys()):
        raise MedSegError(
            f"{len(orphans)} of {len(labels_of)} labels have no image of the same name in {images}: "
            f"{', '.join(orphans[:5])}. Rename the files, or choose another folder."
        )
    return [LabelledCase(stem, image_of[stem], path, source=images.name) for stem, path in labels_of.items()]


def get_stem(path: Path) -> str:
    """Return the name without a known suffix; the name of a DICOM file may be its UID, which contains dots."""
    suffix = get_suffix(path)
    return path.name[: -len(suffix)] if suffix in formats.READERS else path.name
