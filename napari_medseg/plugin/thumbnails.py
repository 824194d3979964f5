"""Small grey pictures of images for the list of cases."""

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.plugin.layers import shown_range

SIDE_PX = 56


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """Return the middle plane of an image at most 56 px wide and high, as it is shown: (height, width), 0 to 255."""
    plane = image.pixels[image.pixels.shape[0] // 2] if image.axes.startswith("Z") else image.pixels
    step = max(1, -(-max(plane.shape[:2]) // SIDE_PX))
    small = plane[::step, ::step].astype(np.float32)
    if image.axes.endswith("C"):
        small = small.mean(axis=-1)
    low, high = shown_range(image)
    return (np.clip((small - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)
