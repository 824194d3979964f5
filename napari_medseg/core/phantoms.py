"""Drawn lesions in a real CT: for a sample and for tests, where no patient's own may be shipped."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

GROUND_GLASS, CONSOLIDATION = 1, 2
GROUND_GLASS_HU, CONSOLIDATION_HU = -560.0, 10.0
NOISE_HU = 45.0
EDGE_PX = 2.0


def with_drawn_lesions(image: Image, lungs: NDArray[Any], seed: int = 0) -> tuple[Image, NDArray[np.uint8]]:
    """Draw ground-glass and consolidation into the lungs of one CT slice.

    Both lie at the pleura, as those of COVID-19 mostly do: ground-glass in both lungs, consolidation in one, where the
    ground-glass is deepest. Vessels shine through the ground-glass.

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
            labels[inside & (distance < 0.6 * radius)] = CONSOLIDATION
    pixels = image.pixels.astype(np.float32)
    noise = ndimage.gaussian_filter(rng.standard_normal(lungs.shape), 0.8) * NOISE_HU
    for value, hu in ((GROUND_GLASS, GROUND_GLASS_HU), (CONSOLIDATION, CONSOLIDATION_HU)):
        share = np.clip(ndimage.gaussian_filter((labels >= value).astype(np.float32), EDGE_PX), 0, 1)
        drawn = np.maximum(pixels, hu + noise)  # what is denser, as a vessel, stays
        pixels = pixels * (1 - share) + drawn * share
    return image.with_pixels(np.rint(pixels).astype(image.pixels.dtype)), labels
