"""A shown level of a slide as an array of which a viewer takes pieces."""

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
        parts = list(index) if isinstance(index, tuple) else [index]
        if Ellipsis in [part for part in parts if part is Ellipsis]:
            place = next(n for n, part in enumerate(parts) if part is Ellipsis)
            parts[place : place + 1] = [slice(None)] * (4 - len(parts))
        parts += [slice(None)] * (3 - len(parts))
        rows, columns = (_find_range(part, length) for part, length in zip(parts[:2], self.shape, strict=False))
        piece = self._blocks.get_piece(self._level, rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        own = tuple(_move(part) for part in parts[:2])
        chosen: NDArray[np.uint8] = piece[(*own, parts[2])]
        return chosen

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


def _move(part: Any) -> Any:  # noqa: ANN401 - as of numpy
    """Return an index of the level as one of the piece that it was found in."""
    return slice(None, None, part.step) if isinstance(part, slice) else 0
