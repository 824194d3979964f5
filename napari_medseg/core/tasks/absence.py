"""When it is suspicious that a model found nothing: no nucleus in stained tissue, no lung in a CT of the chest.

Nothing is said where an image without labels is normal: many frames show no instrument, many lungs no lesion, and many
slices of a CT no lung. Of some labels it is known that a model never draws them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import Task

MIN_TISSUE_SHARE = 0.2
"""Share of an image that is stained tissue, above which it should show a nucleus."""
MIN_SATURATION, MAX_BRIGHTNESS = 0.12, 0.92
"""Tissue is more saturated than glass, or darker."""
MIN_AIR_SHARE = 0.08
"""Share of a body's slice that is air inside it, above which it should show a lung. Gas in the bowel takes less."""
AIR_HU, BODY_HU = -600.0, -300.0
MIN_SLICES = 8
"""A volume of at least so many slices should show both lungs if it shows one."""
MAX_PLANES, STEP_PX = 24, 2
_FILMS = ("CR", "DX", "RG")


def explain_absence(labels: NDArray[Any], task: Task, image: Image) -> str:
    """Say why it is suspicious that labels are missing in an image; empty if it is not.

    Parameters
    ----------
    labels
        Integers on the grid of the image, (y, x) or (z, y, x).
    task, image
        The task of the labels and their image.
    """
    missing = _name_missing_side(labels, task, image)
    if missing:
        return missing
    rule = ABSENCE_RULES.get(task.name)
    if labels.any() or rule is None:
        return ""
    return rule(image)


def list_labels_never_drawn(task: Task, n_classes: int) -> tuple[str, ...]:
    """Return the names of labels for which a network of `n_classes` has none: no training image had them.

    The classes of a task of instances are levels of depth, so none of its labels is missing.
    """
    return () if task.instances else tuple(label.name for label in task.labels if label.value >= n_classes)


def _name_missing_side(labels: NDArray[Any], task: Task, image: Image) -> str:
    """Say that one of two paired organs was not found, in an image that should show both."""
    if task.sides is None or not _shows_whole_chest(image):
        return ""
    found = [bool((labels == side).any()) for side in task.sides]
    if found[0] == found[1]:
        return ""
    there, absent = (task.get_label_name(task.sides[found.index(state)]) for state in (True, False))
    return f"only the {there} was found, not the {absent}: check whether the patient has one"


def _shows_whole_chest(image: Image) -> bool:
    is_volume = len(image.spatial_axes) == 3 and image.spatial_shape[0] >= MIN_SLICES
    return is_volume or image.modality in _FILMS


def _explain_missing_lungs(image: Image) -> str:
    if image.modality in _FILMS:
        return "no lung was found: suspicious for an X-ray of the chest"
    if image.units != "HU":
        return "no lung was found: suspicious for a volume" if _shows_whole_chest(image) else ""
    share = max(_measure_enclosed_air(plane) for plane in _spread_planes(image.pixels, len(image.spatial_axes)))
    if share < MIN_AIR_SHARE:
        return ""
    return f"no lung was found, although air inside the body takes {share:.0%} of a slice: suspicious for a CT"


def _explain_missing_nuclei(image: Image) -> str:
    planes = _spread_planes(image.pixels, len(image.spatial_axes))
    share = float(np.mean([_measure_tissue(plane) for plane in planes]))
    if share < MIN_TISSUE_SHARE:
        return ""
    return f"no nucleus was found, although tissue covers {share:.0%} of the image: suspicious"


def _spread_planes(pixels: NDArray[Any], n_spatial: int) -> NDArray[Any]:
    """Return at most `MAX_PLANES` planes (n, y, x) or (n, y, x, channels), with every second row and column."""
    planes = pixels if n_spatial == 3 else pixels[np.newaxis]
    step = -(-len(planes) // MAX_PLANES)
    return planes[::step, ::STEP_PX, ::STEP_PX]


def _measure_enclosed_air(plane: NDArray[Any]) -> float:
    """Return the area of air inside the body of a slice in HU (y, x), divided by that of the body."""
    body = ndimage.binary_fill_holes(plane > BODY_HU)
    n_body = int(np.count_nonzero(body))
    return float(np.count_nonzero(body & (plane < AIR_HU))) / n_body if n_body else 0.0


def _measure_tissue(plane: NDArray[Any]) -> float:
    """Return the share of a picture that is neither bright glass nor black; of a grey one, that is not its border."""
    grey = plane.astype(np.float32)
    top = float(grey.max())
    if top <= float(grey.min()):
        return 0.0
    if grey.ndim == 2:
        edges = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        return float(np.mean(np.abs(grey - np.median(edges)) > 0.1 * (top - float(grey.min()))))
    full = 255.0 if plane.dtype == np.uint8 else top
    brightest, darkest = grey.max(axis=-1) / full, grey.min(axis=-1) / full
    saturation = 1.0 - darkest / np.maximum(brightest, 1e-6)
    is_tissue = (brightest > 0.1) & ((saturation > MIN_SATURATION) | (brightest < MAX_BRIGHTNESS))
    return float(np.mean(is_tissue))


ABSENCE_RULES: dict[str, Callable[[Image], str]] = {
    "lungs": _explain_missing_lungs,
    "nuclei": _explain_missing_nuclei,
}
"""By the name of a task: what is said if nothing was found in an image."""
