"""Where tissue lies on a slide, found on a reduced picture: stained tissue has colour, glass has none."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_medseg.core.slides.slide import Slide, choose_level

OVERVIEW_PX = 2048
"""The longer side of the reduced picture, at most twice that."""
BLOCK_PX = 4096
LEAST_COLOUR, MOST_COLOUR = 8.0, 25.0
"""Limits of the threshold: by how many grey values the strongest and the weakest channel of stained tissue differ."""
SPECK_SHARE = 2e-5
"""Smaller parts of the picture are dust."""


def find_tissue(slide: Slide) -> NDArray[np.bool_]:
    """Return a reduced picture of the whole slide, bool (h, w), that is True on tissue and a little around it.

    The threshold is Otsu's (1979), within limits, on how far the channels of a pixel differ.
    """
    overview = read_overview(slide)
    colour = overview.max(axis=-1).astype(np.float32) - overview.min(axis=-1)
    smooth = ndimage.gaussian_filter(colour, 2.0)
    limit = float(np.clip(threshold_otsu(smooth), LEAST_COLOUR, MOST_COLOUR)) if smooth.max() > smooth.min() else 0.0
    tissue = smooth > max(limit, LEAST_COLOUR)
    tissue = ndimage.binary_closing(tissue, iterations=3) | tissue
    parts, _ = ndimage.label(tissue)
    is_large = np.bincount(parts.ravel()) >= SPECK_SHARE * parts.size
    is_large[0] = False
    grown: NDArray[np.bool_] = ndimage.binary_dilation(is_large[parts], iterations=2)
    return grown


def read_overview(slide: Slide) -> NDArray[np.uint8]:
    """Return the whole slide as a small RGB picture (h, w, 3), block by block where no level is small."""
    longest = max(slide.levels[0].height, slide.levels[0].width)
    number = choose_level(slide, longest / OVERVIEW_PX)
    level = slide.levels[number]
    step = max(1, round(max(level.height, level.width) / OVERVIEW_PX))
    if max(level.height, level.width) <= BLOCK_PX:
        return slide.read(number, 0, 0, level.height, level.width)[::step, ::step]
    block = BLOCK_PX // step * step
    rows = []
    for y in range(0, level.height, block):
        height = min(block, level.height - y)
        parts = [
            slide.read(number, y, x, height, min(block, level.width - x))[::step, ::step]
            for x in range(0, level.width, block)
        ]
        rows.append(np.concatenate(parts, axis=1))
    return np.concatenate(rows, axis=0)
