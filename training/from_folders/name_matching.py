"""Match masks to images by name: equal names, or names with a word such as ``_mask`` or ``IMG_`` at one end."""

import re
from collections.abc import Callable, Collection, Sequence

from napari_medseg.core.name_matching import fold_name, unify_name

MASK_ENDING = re.compile(
    r"[ _.-]*(masks?|seg|segmentations?|labels?|labelmap|labeled|annotations?|gt|groundtruth|manual)$", re.IGNORECASE
)
MASK_BEGINNING = re.compile(r"^(masks?|seg|segmentations?|labels?|gt)[ _.-]*(?=\d)", re.IGNORECASE)
"""Only before a number: a picture may be called ``label-free_1``."""
IMAGE_ENDING = re.compile(r"[ _.-]+(images?|img|im|ct|scan|volume|0000)$", re.IGNORECASE)
IMAGE_BEGINNING = re.compile(r"^(images?|img|im|ct|scan|volume)([ _.-]+|(?=\d))", re.IGNORECASE)


def pair_names(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Return the mask of each image that has one.

    Names are compared as text: see `core.name_matching`. Equal names are paired first. Then the mask name without a
    word such as ``_mask`` or ``MASK_`` is compared with the image name, with the image name without an ending such as
    ``_0000``, and with the image name without a beginning such as ``IMG_``.

    A mask that fits several images is not paired.

    Parameters
    ----------
    images, masks
        Names without suffix, without duplicates.
    """
    mask_of = {unify_name(mask): mask for mask in masks}
    pairs = {image: mask_of[unify_name(image)] for image in images if unify_name(image) in mask_of}
    for image_key in (str, strip_image_ending, _strip_image_beginning):
        _pair_by_word(images, masks, pairs, image_key)
    return {image: pairs[image] for image in images if image in pairs}


def _pair_by_word(
    images: Sequence[str], masks: Sequence[str], pairs: dict[str, str], image_key: Callable[[str], str]
) -> None:
    """Add the pairs of masks whose name, with or without its word, fits exactly one image that has no mask."""
    taken = set(pairs.values())
    images_by_key: dict[str, list[str]] = {}
    for image in images:
        if image not in pairs:
            images_by_key.setdefault(fold_name(image_key(image)), []).append(image)
    for mask in masks:
        if mask in taken:
            continue
        keys = {fold_name(mask), fold_name(strip_mask_ending(mask)), fold_name(_strip_mask_beginning(mask))}
        fitting = [image for key in keys for image in images_by_key.get(key, [])]
        if len(fitting) == 1 and fitting[0] not in pairs:
            pairs[fitting[0]] = mask


def strip_mask_ending(name: str) -> str:
    """Return the name without a mask ending; the whole name if nothing else is left."""
    return MASK_ENDING.sub("", name) or name


def strip_image_ending(name: str) -> str:
    """Return the name without an image ending."""
    return IMAGE_ENDING.sub("", name) or name


def _strip_mask_beginning(name: str) -> str:
    return MASK_BEGINNING.sub("", name) or name


def _strip_image_beginning(name: str) -> str:
    return IMAGE_BEGINNING.sub("", name) or name


def normalise_name(name: str) -> str:
    """Return the name of a category in lower case, with letters and digits only, for comparison."""
    return "".join(character for character in fold_name(name) if character.isalnum())


def find_mask_names(names: Collection[str]) -> set[str]:
    """Return which names of files that lie together are names of masks.

    These end with a word such as ``_mask``, or begin with one as in ``seg_1``. If there is ``seg_1_mask``, too, then
    ``seg_1`` is its image.
    """
    ended = {name for name in names if strip_mask_ending(name) != name}
    images = {fold_name(strip_mask_ending(name)) for name in ended}
    return ended | {name for name in names if _strip_mask_beginning(name) != name and fold_name(name) not in images}
