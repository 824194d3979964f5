"""What the numbers of a file without a modality mean."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AIR_HU = -900
_TISSUE_HU = -100
_METAL_HU = 32767


def looks_like_hu(pixels: NDArray[Any]) -> bool:
    """Whether values are taken for Hounsfield units: some as dark as air, some at least as bright as fat.

    NIfTI and TIFF do not name the modality. No other picture of this field has numbers below -900, so this is safe;
    a CT that was windowed or shifted stays a grey picture.
    """
    if pixels.dtype.kind not in "if" or pixels.size == 0:
        return False
    low, high = float(pixels.min()), float(pixels.max())
    return low <= _AIR_HU and _TISSUE_HU <= high <= _METAL_HU


def compact_float(values: NDArray[Any]) -> NDArray[Any]:
    """Halve doubles to float32, which holds seven digits: more than any scanner measures."""
    return values.astype(np.float32) if values.dtype == np.float64 else values
