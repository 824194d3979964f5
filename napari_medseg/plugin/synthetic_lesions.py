"""Drawn lesions in a real CT: for a sample and for tests, where no patient's own may be shipped."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

GROUND_GLASS, CONSOLIDATION = 1, 2
FLUID_HU = 35.0
FLUID_FRACTION = {GROUND_GLASS: 0.36, CONSOLIDATION: 0.95}
"""How much of the air is replaced by fluid; the rest of a voxel stays what it was."""
PATCHINESS = 0.12
PATCH_PX = 2.5
EDGE_PX = 2.5


def draw_lesions(image: Image, lungs: NDArray[Any], seed: int = 0) -> tuple[Image, NDArray[np.uint8]]:
    """Draw ground-glass and consolidation into the lungs of one CT slice.

    Both lie at the pleura, as those of COVID-19 mostly do: ground-glass in both lungs, consolidation in one, where the
    ground-glass is deepest. A share of the air in each voxel becomes fluid, unevenly, so that vessels shine through.

    Parameters
    ----------
    image
        One slice (y, x) in HU.
    lungs
        Labels of its lungs: 1 right, 2 left.
    seed
        Of shapes and noise.

    Returns
    -------
    Image, NDArray
        The slice with lesions, and uint8 labels of them, 1 ground-glass and 2 consolidation.

    Raises
    ------
    MedSegError
        If the image is no slice in HU, or has no lungs.
    """
    if image.units != "HU" or image.axes != "YX" or not lungs.any():
        raise MedSegError(f"lesions can be drawn into a slice in HU with lungs, not into {image.name or 'this image'}.")
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.standard_normal(lungs.shape), 9.0)
    rough /= np.abs(rough).max()
    labels = np.zeros(lungs.shape, np.uint8)
    for lung, radius_share in ((1, 0.30), (2, 0.22)):
        inside = lungs == lung
        rows, columns = np.nonzero(inside)
        if not rows.size:
            continue
        back = rows >= np.percentile(rows, 80)  # the lowest fifth: the patient's back
        centre = np.array([rows[back].mean(), columns[back].mean()])
        radius = radius_share * np.sqrt(inside.sum())
        place = np.indices(lungs.shape) - centre[:, None, None]
        distance = np.hypot(*place) + 0.9 * radius * rough
        labels[inside & (distance < 1.25 * radius)] = GROUND_GLASS
        if lung == 1:
            labels[inside & (distance < 0.5 * radius)] = CONSOLIDATION
    pixels = image.pixels.astype(np.float32)
    patches = ndimage.gaussian_filter(rng.standard_normal(lungs.shape), PATCH_PX)
    patches *= PATCHINESS / patches.std()
    for value, filled in FLUID_FRACTION.items():
        share = np.clip(ndimage.gaussian_filter((labels >= value).astype(np.float32), EDGE_PX), 0, 1)
        fluid = share * np.clip(filled + patches * (1 - filled), 0, 1)
        pixels = np.maximum(pixels, pixels * (1 - fluid) + FLUID_HU * fluid)  # what is denser, as a vessel, stays
    return image.replace_pixels(np.rint(pixels).astype(image.pixels.dtype)), labels
