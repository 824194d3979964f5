"""Arrays that napari shows and that are never in memory as a whole: the pictures and the labels of a video."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError

Index = int | slice
SEEN = -1
"""In place of a number: the frame that is seen, whichever it is."""


class LazyFrames:
    """An array whose first axis is the time.

    Parameters
    ----------
    shape
        (t, y, x) or (t, y, x, 3).
    dtype
        Of its values.
    get_frame
        Returns the frame with a number, or `SEEN`, at once: the one before, while another one is decoded.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], get_frame: Callable[[int], NDArray[Any]]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.size = int(np.prod(shape, dtype=np.int64))
        self.nbytes = self.size * dtype.itemsize
        self._get_frame = get_frame

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: "Index | tuple[Index, ...]") -> NDArray[Any]:
        """Return one frame, or a part of it.

        napari's 3-D view asks for all frames by a tuple, and gets the seen one: `FlatView` then goes back to 2-D.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(key, tuple) and first == slice(None):
            return self._get_frame(SEEN)[tuple(rest)][np.newaxis]
        if isinstance(first, slice):
            numbers = range(*first.indices(self.shape[0]))
            if len(numbers) > 1:
                raise MedSegError("a whole video does not fit into memory. Choose frames of it, or a range.")
            frames = [self._get_frame(number)[tuple(rest)] for number in numbers]
            return frames[0][np.newaxis] if frames else self._get_frame(0)[tuple(rest)][np.newaxis][:0]  # no copy
        return self._get_frame(int(first))[tuple(rest)]

    def __array__(self, dtype: "np.dtype[Any] | None" = None, copy: bool | None = None) -> NDArray[Any]:
        """Refuse to read the whole video."""
        return np.asarray(self[:], dtype)
