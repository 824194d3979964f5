"""Pair DICOM segmentations and structure sets with the series that they refer to, whatever their files are called."""

from collections.abc import Collection
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import find_label_class, read_referenced_series
from napari_medseg.core.errors import MedSegError
from training.from_folders.mask_files import MaskFile, find_masks
from training.from_folders.mask_pairing import list_images


def find_pairs_by_series(images: Path, masks: Path, paired: Collection[Path]) -> dict[str, tuple[Path, str, MaskFile]]:
    """Return what names do not tell: the image, the name of the mask, and the mask, by the name of the image.

    Parameters
    ----------
    images, masks
        Folders, as of `find_pairs`.
    paired
        Images and masks that have a partner.

    Raises
    ------
    MedSegError
        If a folder contains no readable file.
    """
    mask_of, _ = find_masks(masks, by_ending=images.resolve() == masks.resolve())
    objects = {name: mask for name, mask in mask_of.items() if mask.path not in paired and find_label_class(mask.path)}
    if not objects:
        return {}
    image_of, _ = list_images(images, masks)
    series_of = {_find_series(path): name for name, path in image_of.items() if path not in paired}
    found: dict[str, tuple[Path, str, MaskFile]] = {}
    for title, mask in objects.items():
        names = {series_of[uid] for uid in read_referenced_series(mask.path) if uid in series_of}
        if len(names) == 1 and not names & found.keys():
            name = names.pop()
            found[name] = (image_of[name], title, mask)
    return found


def _find_series(image: Path) -> str:
    """Return the series of the only image in a file or folder; ``""`` if there are several or none."""
    try:
        sources = formats.find_images(image)
    except MedSegError:
        return ""
    return sources[0].series if len(sources) == 1 else ""
