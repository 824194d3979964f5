"""Detect the kind of images in a folder from some of them."""

from collections import Counter
from itertools import islice
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.detection import detect_look

SAMPLED_IMAGES = 12
_KIND_BY_MODALITY = {"CT": "ct", "MR": "mr", "CR": "x-ray", "DX": "x-ray", "MG": "x-ray", "US": "ultrasound"}


def detect_image_kind(images: Path) -> str:
    """Return the kind of the images in a folder, a key of `core.tasks.custom_task.IMAGE_KINDS`; some images are read.

    Raises
    ------
    MedSegError
        If the folder does not exist or contains no readable image.
    """
    if not images.is_dir():
        raise MedSegError(f"{images} is not a folder. Give a folder of images.")
    paths = [path for path in sorted(images.iterdir()) if formats.can_read(path) and not path.name.startswith(".")]
    readable = filter(None, map(_read_or_none, paths[:: max(1, len(paths) // SAMPLED_IMAGES)]))
    seen = [(detect_look(image), _get_modality(image)) for image in islice(readable, SAMPLED_IMAGES)]
    if not seen:
        raise MedSegError(f"{images} contains no image that can be read. Choose another folder.")
    looks = Counter(look for look, _ in seen)
    if looks["stained"] > looks["endoscopic"]:
        return "histology"
    if looks["endoscopic"]:
        return "colour"
    modality = Counter(modality for _, modality in seen).most_common(1)[0][0]
    return _KIND_BY_MODALITY.get(modality, "grey")


def _get_modality(image: Image) -> str:
    return image.modality or ("CT" if image.units == "HU" else "")


def _read_or_none(path: Path) -> Image | None:
    try:
        return formats.read(path)
    except MedSegError:
        return None
