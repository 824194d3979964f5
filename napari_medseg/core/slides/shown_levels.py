"""The levels of a slide that a window shows: those of the file, and those that it lacks between and above them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from napari_medseg.core.slides.slide import Slide

OVERVIEW_PX = 2048
"""The coarsest level that is shown is at most so high and wide, and stays in memory."""


@dataclass(frozen=True)
class ShownLevel:
    """A level that is shown: one of the file, or one that is made of a finer one of the file.

    Parameters
    ----------
    height, width
        In its own pixels.
    downsample
        Pixels of level 0 in one of its pixels.
    of_file
        Level of the file that it is read from.
    factor
        Pixels of that level in one of its pixels.
    """

    height: int
    width: int
    downsample: float
    of_file: int
    factor: int


def list_shown_levels(slide: Slide) -> tuple[ShownLevel, ...]:
    """Return the levels of a slide and those between them, each at most about twice as coarse as the one before.

    A viewer chooses the coarsest level that is fine enough. If levels are far apart, as those of many scanners (1, 4,
    16), it would draw up to sixteen times the pixels of the screen.
    """
    shown: list[ShownLevel] = []
    for number, level in enumerate(slide.levels):
        shown.append(ShownLevel(level.height, level.width, level.downsample, number, 1))
        is_last = number + 1 == len(slide.levels)
        factor = 2
        while _is_missing(slide, number, factor, is_last=is_last):
            height, width = -(-level.height // factor), -(-level.width // factor)
            shown.append(ShownLevel(height, width, level.downsample * factor, number, factor))
            factor *= 2
    return tuple(shown)


def _is_missing(slide: Slide, number: int, factor: int, *, is_last: bool) -> bool:
    """Whether a level made of a level of the file by this factor is wanted before the next one of the file."""
    level = slide.levels[number]
    if is_last:
        return max(level.height, level.width) * 2 > OVERVIEW_PX * factor
    return level.downsample * factor * 1.5 < slide.levels[number + 1].downsample


def reduce_pixels(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return means of `factor` x `factor` pixels, (height, width, 3); the last row and column may be of fewer."""
    if factor == 1:
        return pixels
    return np.asarray(Picture.fromarray(pixels).reduce(factor))
