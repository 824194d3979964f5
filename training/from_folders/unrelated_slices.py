"""Stacks whose slices are of different patients, cut into images: each slice can be held out alone.

medicalsegmentation.com has 100 CT slices of more than 40 patients in one NIfTI file. As one volume it would be one
patient, and nothing could be held out.
"""

from dataclasses import replace
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.name_matching import fold_name
from training.from_folders.folder_data import FolderData, check_folder_data
from training.from_folders.mask_pairing import PairingResult, pair_images_with_masks, read_image_and_labels
from training.from_folders.mask_values import MaskEncoding

SUFFIX = ".nii.gz"
IMAGES, MASKS = "images", "masks"
EACH_ITS_OWN = "{patient}"
"""Pattern of a name: each slice is a patient."""
KEPT_WARNINGS = {"orientation", "reading", "soft borders"}
"""Kinds of mismatches that the slices do not show any more."""


def check_slices(data: FolderData, folder: Path) -> tuple[FolderData, PairingResult]:
    """Write the slices of all stacks into a folder, and check them as `check_folder_data`.

    Parameters
    ----------
    data
        Stacks with their masks; single planes are taken as they are. Without a pattern each slice is its own group,
        and a single plane has the one that its file states.
    folder
        A new folder. Slice 7 of ``ct`` becomes ``images/ct_007.nii.gz``; its labels are in ``masks``.

    Returns
    -------
    data, pairs
        The slices as data whose masks hold labels, and what `check_folder_data` says of them; with it the mismatches of
        stacks that do not fit, and what was assumed when their masks were read.

    Raises
    ------
    MedSegError
        As `check_folder_data`, if no stack fits, two images would have one name, or the folder cannot be written to.
    """
    found = pair_images_with_masks(data.images, data.masks, data.encoding)
    kept = tuple(one for one in found.mismatches if one.blocking or one.kind in KEPT_WARNINGS)
    origin_of: dict[str, str] = {}
    group_of: dict[str, str] = {}
    places = [folder / name for name in (IMAGES, MASKS)]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for case in found.cases:
        image, labels = read_image_and_labels(case, data.encoding)
        if len(image.spatial_axes) == 2:
            slices = {case.name: (image, labels)}
        else:
            digits = max(3, len(str(len(labels))))
            slices = {
                f"{case.name}_{number:0{digits}}": (take_slice(image, number), labels[number])
                for number in range(len(labels))
            }
        for name, (plane, drawn) in slices.items():
            if (other := origin_of.setdefault(fold_name(name), case.name)) != case.name:
                raise MedSegError(f"{other} and {case.name} both have an image {name}. Rename one of these files.")
            group_of[name] = name if len(image.spatial_axes) > 2 else case.group or name
            formats.write_image(places[0] / f"{name}{SUFFIX}", plane)
            formats.write_labels(places[1] / f"{name}{SUFFIX}", drawn, plane)
    if not found.cases:
        raise MedSegError(f"no stack fits: {'; '.join(one.text for one in found.blocking_mismatches[:3])}.")
    encoding = MaskEncoding(data.encoding.task, ignore=data.encoding.ignored_value)
    cut = replace(data, images=places[0], masks=places[1], encoding=encoding)
    pairs = check_folder_data(cut, group_of)
    cut = replace(cut, group_by=data.group_by or EACH_ITS_OWN)
    return cut, replace(pairs, mismatches=(*kept, *pairs.mismatches))


def take_slice(image: Image, number: int) -> Image:
    """Return one slice of a stack (z, y, x) as a plane with its spacing; its place in the patient is not kept."""
    spacing = None if image.spacing_mm is None else image.spacing_mm[1:]
    return Image(
        image.pixels[number], image.axes[1:], spacing, modality=image.modality, units=image.units, name=image.name
    )
