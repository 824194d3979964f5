"""A shown level of a slide as an array of which a viewer takes pieces."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.blocks import SlideBlocks

MAX_WHOLE_PIXELS = 2**24


class LazyLevel:
    """One shown level, (height, width, 3) of uint8; indexing reads what is there, see `SlideBlocks.get_piece`."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, blocks: SlideBlocks, level: int) -> None:
        self._blocks = blocks
        self._level = level
        of_level = blocks.levels[level]
        self.shape = (of_level.height, of_level.width, 3)
        self.size = of_level.height * of_level.width * 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - as of numpy
        """Return a piece; rows and columns are slices, or numbers, as of numpy."""
        return take_piece(index, self.shape, lambda *place: self._blocks.get_piece(self._level, *place))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - as of numpy
        """Return the whole level if it is small.

        Raises
        ------
        MedSegError
            If it is not.
        """
        if self.shape[0] * self.shape[1] > MAX_WHOLE_PIXELS:
            size = f"{self.shape[1]:,} x {self.shape[0]:,}"
            raise MedSegError(
                f"{self._blocks.name} has {size} pixels, too many to be read as a whole. Draw a field on it."
            )
        return np.asarray(self[:], dtype=dtype)


def take_piece(
    index: Any,  # noqa: ANN401 - as of numpy
    shape: tuple[int, ...],
    get_piece: Callable[[int, int, int, int], NDArray[Any]],
) -> NDArray[Any]:
    """Return what numpy would return for an index of an array, of which only rectangles can be read.

    Parameters
    ----------
    index
        Slices with positive steps, numbers and an ellipsis.
    shape
        (height, width) or (height, width, samples).
    get_piece
        Gets y, x, height and width.

    Raises
    ------
    IndexError
        If a number is out of bounds, or a slice goes backwards.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if (place := next((n for n, part in enumerate(parts) if part is Ellipsis), None)) is not None:
        parts[place : place + 1] = [slice(None)] * (len(shape) + 1 - len(parts))
    parts += [slice(None)] * (len(shape) - len(parts))
    rows, columns = (_find_range(part, length) for part, length in zip(parts[:2], shape, strict=False))
    piece = get_piece(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
    own = [slice(None, None, part.step) if isinstance(part, slice) else 0 for part in parts[:2]]
    chosen: NDArray[Any] = piece[(*own, *parts[2:])]
    return chosen


def _find_range(part: Any, length: int) -> tuple[int, int]:  # noqa: ANN401 - as of numpy
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step < 0:
            raise IndexError("a slide is not read backwards")
        return start, max(start, stop)
    number = int(part) + (length if int(part) < 0 else 0)
    if not 0 <= number < length:
        raise IndexError(f"{part} is out of bounds for {length}")
    return number, number + 1
