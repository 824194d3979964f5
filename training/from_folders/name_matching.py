"""Match masks to images by name: equal names, or names with an ending such as ``_mask`` or ``_image``."""

import re
from collections.abc import Sequence

MASK_ENDING = re.compile(
    r"[ _.-]*(masks?|seg|segmentations?|labels?|labelmap|labeled|annotations?|gt|groundtruth|manual)$", re.IGNORECASE
)
IMAGE_ENDING = re.compile(r"[ _.-]+(images?|img|ct|scan|volume|0000)$", re.IGNORECASE)


def pair_names(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Return the mask of each image that has one.

    Equal names are paired first. Then the mask name without an ending such as ``_mask`` is compared with the image
    name, and with the image name without an ending such as ``_0000``. A mask that fits several images is not paired.

    Parameters
    ----------
    images, masks
        Names without suffix, without duplicates.
    """
    pairs = {name: name for name in images if name in set(masks)}
    for image_key in (str, strip_image_ending):
        left_masks = [mask for mask in masks if mask not in pairs.values()]
        left_images = [image for image in images if image not in pairs]
        for mask in left_masks:
            wanted = {mask.casefold(), strip_mask_ending(mask).casefold()}
            fitting = [image for image in left_images if image_key(image).casefold() in wanted]
            if len(fitting) == 1 and fitting[0] not in pairs:
                pairs[fitting[0]] = mask
    return {image: pairs[image] for image in images if image in pairs}


def strip_mask_ending(name: str) -> str:
    """Return the name without a mask ending; the whole name if nothing else is left."""
    return MASK_ENDING.sub("", name) or name


def strip_image_ending(name: str) -> str:
    """Return the name without an image ending."""
    return IMAGE_ENDING.sub("", name) or name


def normalise_name(name: str) -> str:
    """Return the name of a category in lower case, with letters and digits only, for comparison."""
    return "".join(character for character in name.casefold() if character.isalnum())


def get_image_key(name: str) -> str | None:
    """Return the image name of a file in a folder with both images and masks; `None` if it has a mask ending."""
    return None if strip_mask_ending(name) != name else name
