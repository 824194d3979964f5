"""Convert file values to a small set of array types, and guess their unit if the file does not give it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AIR_HU = -900
_FAT_HU = -100
_METAL_HU = 32767


def cast_compact(values: NDArray[Any]) -> NDArray[Any]:
    """Convert integer values to int16 if they fit, else int32; other values to float32. The shape is kept."""
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
    """Convert to the native byte order: 64-bit integers to 16 or 32 bits, all floats to float32, bool to 0 and 255.

    Float32 keeps seven digits, which is more than the precision of any scanner.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        return cast_compact(values)
    return values.astype(values.dtype.newbyteorder("="))


def looks_like_hu(values: NDArray[Any]) -> bool:
    """Whether values look like Hounsfield units: the minimum is like air, the maximum at least like fat.

    NIfTI and TIFF do not store the modality. No other image type used here has values below -900. A CT that was
    windowed or shifted is treated as a grey image.
    """
    if values.dtype.kind not in "if" or values.size == 0:
        return False
    low, high = float(values.min()), float(values.max())
    return low <= _AIR_HU and _FAT_HU <= high <= _METAL_HU
