"""Artificial lesions in a real CT, for a sample and for tests, because patient lesions may not be redistributed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

GROUND_GLASS, CONSOLIDATION = 1, 2
FLUID_HU = 35.0
FLUID_FRACTION = {GROUND_GLASS: 0.36, CONSOLIDATION: 0.95}
"""Fraction of the air in a voxel that is replaced by fluid."""
PATCHINESS = 0.12
PATCH_PX = 2.5
EDGE_PX = 2.5


def draw_lesions(image: Image, lungs: NDArray[Any], seed: int = 0) -> tuple[Image, NDArray[np.uint8]]:
    """Draw ground-glass and consolidation into the lungs of one CT slice.

    Both lie at the pleura, as is typical for COVID-19: ground-glass in both lungs, and consolidation in one lung,
    inside the ground-glass. In each voxel a varying fraction of the air is replaced by fluid, so that vessels remain
    visible.

    Parameters
    ----------
    image
        One slice, shape (y, x), in HU.
    lungs
        Lung labels of the same shape: 1 right, 2 left.
    seed
        Random seed of shapes and noise.

    Returns
    -------
    Image, NDArray
        The slice with lesions, and their labels, uint8, shape (y, x): 1 ground-glass, 2 consolidation.

    Raises
    ------
    MedSegError
        If the image is not a slice in HU, or `lungs` is empty.
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
        pixels = np.maximum(
            pixels, pixels * (1 - fluid) + FLUID_HU * fluid
        )  # denser voxels, such as vessels, do not change
    return image.replace_pixels(np.rint(pixels).astype(image.pixels.dtype)), labels
