"""Which mask belongs to which image, by their names: the same name, or one with an ending that says what it is."""

import re
from collections.abc import Sequence

MASK_ENDING = re.compile(
    r"[ _.-]*(masks?|seg|segmentations?|labels?|labelmap|labeled|annotations?|gt|groundtruth|manual)$", re.IGNORECASE
)
IMAGE_ENDING = re.compile(r"[ _.-]+(images?|img|ct|scan|volume|0000)$", re.IGNORECASE)


def pair_names(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Return the mask of each image that has one.

    Equal names go together first; then masks whose name without an ending such as ``_mask`` is an image's, or an
    image's without an ending such as ``_0000``. A name that fits several images fits none.

    Parameters
    ----------
    images, masks
        Names without suffix, each once.
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
    """Name without what says that it is a mask; the name itself where nothing else would be left."""
    return MASK_ENDING.sub("", name) or name


def strip_image_ending(name: str) -> str:
    """Name without what says that it is an image."""
    return IMAGE_ENDING.sub("", name) or name


def normalise_name(name: str) -> str:
    """Name of a category without what people write differently: case, spaces, underscores, hyphens."""
    return "".join(character for character in name.casefold() if character.isalnum())


def get_image_key(name: str) -> str | None:
    """Return the name of a file in a folder that holds both kinds; `None` where its ending says that it is a mask."""
    return None if strip_mask_ending(name) != name else name
