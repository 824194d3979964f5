"""Labels of fields at their places on the slide, as levels that a viewer takes pieces of; they are only shown."""

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.slides.fields import Field
from napari_medseg.core.slides.lazy_level import take_piece
from napari_medseg.core.slides.shown_levels import ShownLevel
from napari_medseg.core.slides.slide import Level

SMALL_PX = 128
"""Each field is also kept so small, for when the whole slide is seen."""
N_UNPACKED = 24
_MAX_VALUE = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class _Placed:
    """Labels of a field: its box in pixels of level 0, packed, and small with every n-th pixel."""

    box: tuple[float, float, float, float]
    factor: float
    shape: tuple[int, int]
    packed: bytes
    small: NDArray[np.uint16]
    step: int


class PlacedLabels:
    """Labels of many fields of one slide.

    Parameters
    ----------
    file_levels, levels
        Levels of the file, and those that are shown.
    """

    def __init__(self, file_levels: tuple[Level, ...], levels: tuple[ShownLevel, ...]) -> None:
        self.levels = levels
        self._file_levels = file_levels
        self._placed: dict[int, _Placed] = {}
        self._unpacked: OrderedDict[int, NDArray[np.uint16]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._placed)

    def put(self, number: int, field: Field, labels: NDArray[Any]) -> None:
        """Place the labels of a field, (height, width), instead of those with the same number.

        Numbers above 65,535 begin again at 1, as they only choose a colour here.
        """
        shown = np.where(labels > 0, (labels.astype(np.int64) - 1) % _MAX_VALUE + 1, 0).astype(np.uint16)
        factor = self._file_levels[min(field.level, len(self._file_levels) - 1)].downsample
        height, width = shown.shape
        step = max(1, -(-max(height, width) // SMALL_PX))
        box = (field.y, field.x, field.y + height * factor, field.x + width * factor)
        small = np.ascontiguousarray(shown[step // 2 :: step, step // 2 :: step])
        self._placed[number] = _Placed(box, factor, (height, width), zlib.compress(shown.tobytes(), 1), small, step)
        self._unpacked.pop(number, None)

    def drop(self, number: int) -> None:
        """Forget the labels with a number."""
        self._placed.pop(number, None)
        self._unpacked.pop(number, None)

    def get_piece(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint16]:
        """Return a piece of a shown level, (height, width); 0 where no field is."""
        piece = np.zeros((height, width), np.uint16)
        downsample = self.levels[level].downsample
        for number, placed in self._placed.items():
            top, left, bottom, right = (value / downsample for value in placed.box)
            first, last = max(0, round(top) - y), min(height, round(bottom) - y)
            begin, end = max(0, round(left) - x), min(width, round(right) - x)
            if first >= last or begin >= end:
                continue
            rows = (y + np.arange(first, last) + 0.5) * downsample - placed.box[0]
            columns = (x + np.arange(begin, end) + 0.5) * downsample - placed.box[1]
            piece[first:last, begin:end] = self._sample(number, placed, rows / placed.factor, columns / placed.factor)
        return piece

    def _sample(self, number: int, placed: _Placed, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.uint16]:
        """Return labels at places in pixels of the field; from the small ones if those are as dense."""
        is_coarse = rows.size > 1 and rows[1] - rows[0] >= placed.step
        source, step = (placed.small, placed.step) if is_coarse else (self._unpack(number, placed), 1)
        of_rows = np.clip(rows / step, 0, source.shape[0] - 1).astype(np.intp)
        of_columns = np.clip(columns / step, 0, source.shape[1] - 1).astype(np.intp)
        sampled: NDArray[np.uint16] = source[of_rows][:, of_columns]
        return sampled

    def _unpack(self, number: int, placed: _Placed) -> NDArray[np.uint16]:
        if number not in self._unpacked:
            values = np.frombuffer(zlib.decompress(placed.packed), np.uint16)
            self._unpacked[number] = values.reshape(placed.shape)
            if len(self._unpacked) > N_UNPACKED:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(number)
        return self._unpacked[number]


class PlacedLevel:
    """One shown level of placed labels, (height, width) of uint16; indexing makes a piece."""

    dtype = np.dtype(np.uint16)
    ndim = 2

    def __init__(self, labels: PlacedLabels, level: int) -> None:
        self._labels = labels
        self._level = level
        self.shape = (labels.levels[level].height, labels.levels[level].width)
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.uint16]:  # noqa: ANN401 - as of numpy
        """Return a piece; rows and columns are slices, or numbers, as of numpy."""
        piece: NDArray[np.uint16] = take_piece(
            index, self.shape, lambda *place: self._labels.get_piece(self._level, *place)
        )
        return piece

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401 - as of numpy
        """Return the whole level; a viewer asks for the smallest only."""
        return np.asarray(self[:], dtype=dtype)
