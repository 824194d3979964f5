"""Labels on the slices of a DICOM series that are being filled from a segmentation or a structure set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import HeaderMismatchError, MedSegError

HALF = 0.5
"""Of a pixel, or of the largest fraction: what lies beyond belongs to the next one."""
_TOLERANCE_PX = 0.02
"""By how much a slice may lie off the grid of the series; files round positions to a hundredth of a pixel."""


@dataclass(eq=False)
class LabelsOnSeries:
    """Labels (slice, row, column) of a series that are being filled, and where they lie (index to LPS millimetres)."""

    values: NDArray[Any]
    matrix: NDArray[np.float64] | None

    def find_slice(self, corner: NDArray[np.float64], name: str) -> tuple[int, int, int]:
        """Return the index of a point in LPS millimetres: slice, row and column of the first pixel of a frame."""
        assert self.matrix is not None
        index = np.linalg.solve(self.matrix, [*corner, 1.0])[:3]
        whole = np.rint(index)
        if np.abs(index - whole).max() > _TOLERANCE_PX:
            raise HeaderMismatchError(
                f"{name} lies between the voxels of the series. Export it on the grid of the series."
            )
        return int(whole[0]), int(whole[1]), int(whole[2])

    def fill(self, place: tuple[Any, ...], inside: NDArray[np.bool_], value: int, name: str) -> None:
        """Set voxels to a value; refuse those that have another one."""
        part = self.values[place]
        taken = part[inside]
        if hidden := sorted({*np.unique(taken).tolist()} - {0, value}):
            n_voxels = int(np.isin(taken, hidden).sum())
            raise MedSegError(
                f"{name}: segments {hidden[0]} and {value} overlap in {n_voxels:,} voxels, and here a voxel has one "
                "label. Export one of them."
            )
        part[inside] = value
