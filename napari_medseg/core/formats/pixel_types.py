"""The numbers of a file in the fewest kinds of array, and what they mean where the file does not say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AIR_HU = -900
_FAT_HU = -100
_METAL_HU = 32767


def cast_compact(values: NDArray[Any]) -> NDArray[Any]:
    """Bring whole numbers to int16 where they fit, else int32; other numbers to float32."""
    if values.dtype.kind == "f":
        if values.size and np.isfinite(values).all() and np.array_equal(values, np.rint(values)):
            return cast_compact(values.astype(np.int64)) if np.abs(values).max() < 2**31 else values.astype(np.float32)
        return values.astype(np.float32)
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if values.size and values.min() >= limits.min and values.max() <= limits.max:
            return values.astype(dtype)
    return values.astype(np.float32)


def cast_native(values: NDArray[Any]) -> NDArray[Any]:
    """Keep the type of small numbers in this machine's byte order; make 64 bits 32, and black and white 0 and 255.

    Float32 holds seven digits, which is more than any scanner measures.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        return cast_compact(values)
    return values.astype(values.dtype.newbyteorder("="))


def looks_like_hu(values: NDArray[Any]) -> bool:
    """Whether values are taken for Hounsfield units: some as dark as air, some at least as bright as fat.

    NIfTI and TIFF do not name the modality. No other picture of this field has numbers below -900, so this is safe;
    a CT that was windowed or shifted stays a grey picture.
    """
    if values.dtype.kind not in "if" or values.size == 0:
        return False
    low, high = float(values.min()), float(values.max())
    return low <= _AIR_HU and _FAT_HU <= high <= _METAL_HU
