"""What a whole slide is for the rest of the program: a pyramid of RGB pictures that is read piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError

WHITE = 255
"""What lies outside a slide, and what a scanner left out: glass with light behind it."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide: its height and width in pixels, and how many pixels of level 0 one of them is wide."""

    height: int
    width: int
    downsample: float


class Slide(Protocol):
    """A pyramid of RGB pictures that is read piece by piece; one object may be used from one thread at a time.

    `levels` starts with level 0, the full resolution. `spacing_mm` is (y, x) of level 0, `None` if the file does not
    say it.
    """

    path: Path
    name: str
    levels: tuple[Level, ...]
    spacing_mm: tuple[float, float] | None

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a part of a level.

        Parameters
        ----------
        level
            Number of the level.
        y, x
            Upper left corner in pixels of that level; it may lie outside.
        height, width
            Size in pixels of that level.

        Returns
        -------
        NDArray
            (height, width, 3); what lies outside the slide, and what was not scanned, is white.

        Raises
        ------
        DamagedPartError
            If a tile cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class DamagedPartError(MedSegError):
    """A part of a slide cannot be decoded, while others can.

    Parameters
    ----------
    name
        Name of the slide.
    level, y, x, height, width
        The part, in pixels of its level.
    reason
        What the decoder says.
    """

    def __init__(self, name: str, level: int, y: int, x: int, height: int, width: int, reason: str) -> None:
        self.level, self.y, self.x, self.height, self.width = level, y, x, height, width
        super().__init__(
            f"{name} is damaged at level {level}, x {x:,} to {x + width:,}, y {y:,} to {y + height:,}: {reason}. "
            "Copy or export it again, or draw fields elsewhere."
        )


class Overlap(NamedTuple):
    """Where a part of a level and the wanted piece have pixels in common: slices of the piece, and of the part."""

    of_piece: tuple[slice, slice]
    of_part: tuple[slice, slice]


def make_white(height: int, width: int) -> NDArray[np.uint8]:
    """Return a white RGB picture of (height, width, 3)."""
    return np.full((height, width, 3), WHITE, np.uint8)


def find_overlap(piece: tuple[int, int, int, int], part: tuple[int, int, int, int]) -> Overlap | None:
    """Return what two rectangles (y, x, height, width) have in common; `None` if nothing."""
    top, left = max(piece[0], part[0]), max(piece[1], part[1])
    bottom = min(piece[0] + piece[2], part[0] + part[2])
    right = min(piece[1] + piece[3], part[1] + part[3])
    if bottom <= top or right <= left:
        return None
    first, second = (
        (slice(top - box[0], bottom - box[0]), slice(left - box[1], right - box[1])) for box in (piece, part)
    )
    return Overlap(first, second)


def make_levels(sizes: Sequence[tuple[int, int]], downsamples: Sequence[float] | None = None) -> tuple[Level, ...]:
    """Return the levels of a pyramid from their (height, width), from fine to coarse.

    Parameters
    ----------
    sizes
        Of all levels, level 0 first.
    downsamples
        What the file says; by default it follows from the widths. A factor that is a whole number but for the rounding
        of the sizes is that number: half of 1,025 pixels are 513, and the factor is 2, not 1.998.
    """
    height, width = sizes[0]
    levels = []
    for number, (rows, columns) in enumerate(sizes):
        factor = width / columns if downsamples is None else downsamples[number]
        whole = max(1, round(factor))
        is_rounded = abs(columns * whole - width) < whole and abs(rows * whole - height) < whole
        levels.append(Level(rows, columns, float(whole) if is_rounded else factor))
    return tuple(levels)


def choose_level(slide: Slide, downsample: float) -> int:
    """Return the coarsest level that is at least as fine as `downsample`; 0 if none is."""
    fitting = [n for n, level in enumerate(slide.levels) if level.downsample <= downsample * 1.001]
    return max(fitting, key=lambda n: slide.levels[n].downsample, default=0)


def compute_spacing(slide: Slide, level: int) -> tuple[float, float] | None:
    """Return the millimetres per pixel (y, x) of a level; `None` if the slide does not say its resolution."""
    if slide.spacing_mm is None:
        return None
    factor = slide.levels[level].downsample
    return (slide.spacing_mm[0] * factor, slide.spacing_mm[1] * factor)
