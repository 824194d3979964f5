"""Whether values are Hounsfield units (HU), judged by the values alone: NIfTI and TIFF do not store the modality.

Air is -1000 HU by definition, fat about -100, and no tissue is below air. A phase image of MR reaches as far down, but
it is not empty below air, or it is as often far below zero as far above.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AIR_HU = -900
LOWEST_HU = -1024
"""The lowest value that scanners store for a measured voxel (12 bits); padding gets this value."""
FAT_HU = -100
METAL_HU = 32767
BELOW_AIR_HU = -1500
MAX_SHARE_BELOW_AIR = 0.01
MAX_PADDING_VALUES = 2
SYMMETRY_TOLERANCE = 0.02
FAR_FROM_ZERO = 0.5
SAMPLE_SIZE = 1 << 20


def looks_like_hu(values: NDArray[Any]) -> bool:
    """Whether values are those of a CT: the minimum is like air, the maximum at least like fat, nothing is below air.

    One or two constants below air are padding. A CT that was windowed or shifted is a grey image.
    """
    if values.dtype.kind not in "if" or values.size == 0:
        return False
    low, high = float(values.min()), float(values.max())
    if not (low <= AIR_HU and FAT_HU <= high <= METAL_HU):
        return False
    sample = values.reshape(-1)[:: max(1, values.size // SAMPLE_SIZE)]
    return not _has_tissue_below_air(sample) and not _is_symmetric(sample, low, high)


def _has_tissue_below_air(sample: NDArray[Any]) -> bool:
    below = sample[sample < BELOW_AIR_HU]
    if below.size <= MAX_SHARE_BELOW_AIR * sample.size:
        return False
    _, counts = np.unique(below, return_counts=True)
    padding = int(np.sort(counts)[-MAX_PADDING_VALUES:].sum())
    return below.size - padding > MAX_SHARE_BELOW_AIR * sample.size


def _is_symmetric(sample: NDArray[Any], low: float, high: float) -> bool:
    """Whether range and frequencies are the same on both sides of zero, as in a phase image from -1000 to 1000."""
    if abs(low + high) > SYMMETRY_TOLERANCE * high:
        return False
    far_below = int(np.count_nonzero(sample < FAR_FROM_ZERO * low))
    far_above = int(np.count_nonzero(sample > FAR_FROM_ZERO * high))
    return far_above * 2 > far_below
