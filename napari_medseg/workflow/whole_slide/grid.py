"""The grid on which a model sees a slide: which level is read, and how it is resampled to the model's resolution."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.slide import Slide, choose_level

TOLERANCE = 0.1
"""Resolutions that differ by less are taken as equal: nuclei of one slide differ more, and resampling blurs."""
MAX_ENLARGED = 4.0
"""A slide that is coarser than the model's resolution by more shows too little."""
UM_PER_MM = 1000.0


@dataclass(frozen=True)
class ModelGrid:
    """The pixels that a model is shown, and that its labels have.

    Parameters
    ----------
    level
        Level of the slide that is read.
    factor
        Pixels of that level per pixel of the grid; 1 if it is not resampled.
    height, width
        Size of the whole slide in pixels of the grid.
    downsample
        Pixels of level 0 per pixel of the grid.
    um_per_px
        Micrometres per pixel of the grid; `None` if the slide does not say its resolution.
    """

    level: int
    factor: float
    height: int
    width: int
    downsample: float
    um_per_px: float | None

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Millimetres per pixel (y, x)."""
        return None if self.um_per_px is None else (self.um_per_px / UM_PER_MM, self.um_per_px / UM_PER_MM)

    @property
    def pixel_area_mm2(self) -> float | None:
        """Square millimetres of one pixel."""
        return None if self.um_per_px is None else (self.um_per_px / UM_PER_MM) ** 2


def choose_grid(slide: Slide, um_per_px: float | None) -> ModelGrid:
    """Return the grid for a model.

    Parameters
    ----------
    slide
        An open slide.
    um_per_px
        Micrometres per pixel that the model was trained at; `None` if it is unknown, then level 0 is taken.

    Raises
    ------
    MedSegError
        If the slide is far coarser than the model needs.
    """
    own = None if slide.spacing_mm is None else math.sqrt(slide.spacing_mm[0] * slide.spacing_mm[1]) * UM_PER_MM
    wanted = 1.0 if own is None or um_per_px is None else um_per_px / own
    if wanted < 1.0 / MAX_ENLARGED:
        raise MedSegError(
            f"{slide.name} has {own:.3g} micrometres per pixel, but the model was trained at {um_per_px:.3g}: it shows "
            "too little. Scan it at a higher magnification, or choose the resolution yourself (--um-per-pixel)."
        )
    number = choose_level(slide, wanted * (1.0 + TOLERANCE))
    level = slide.levels[number]
    factor = wanted / level.downsample
    if abs(factor - 1.0) <= TOLERANCE:
        factor = 1.0
    downsample = level.downsample * factor
    return ModelGrid(
        level=number,
        factor=factor,
        height=max(1, round(level.height / factor)),
        width=max(1, round(level.width / factor)),
        downsample=downsample,
        um_per_px=None if own is None else own * downsample,
    )


def read_grid(slide: Slide, grid: ModelGrid, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
    """Read a part of a slide in pixels of the grid; parts that are read separately fit together.

    Parameters
    ----------
    slide, grid
        The open slide, and its grid.
    y, x, height, width
        The part, in pixels of the grid.

    Returns
    -------
    NDArray
        (height, width, 3), reduced with antialiasing.
    """
    factor = grid.factor
    if factor == 1.0:
        return slide.read(grid.level, y, x, height, width)
    around = math.ceil(2 * max(1.0, factor))  # the pixels that the filter reaches
    top, left = math.floor(y * factor) - around, math.floor(x * factor) - around
    bottom, right = math.ceil((y + height) * factor) + around, math.ceil((x + width) * factor) + around
    source = slide.read(grid.level, top, left, bottom - top, right - left)
    box = (x * factor - left, y * factor - top, (x + width) * factor - left, (y + height) * factor - top)
    reduced = PilImage.fromarray(source).resize((width, height), PilImage.Resampling.BILINEAR, box=box)
    return np.array(reduced)  # writable, as torch wants it
