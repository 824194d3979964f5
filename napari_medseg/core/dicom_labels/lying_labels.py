"""Labels of a DICOM series while they are filled: as they lie in its files, slice by slice."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import HeaderMismatchError, MedSegError
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import compute_file_affine
from napari_medseg.core.image import Image

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TOLERANCE_PX = 0.02
"""By how much a slice may lie off the grid of the series; files round positions to a hundredth of a pixel."""


@dataclass(eq=False)
class LyingLabels:
    """Labels (slice, row, column) of a series that are being filled, and where they lie (index to LPS millimetres)."""

    values: NDArray[Any]
    matrix: NDArray[np.float64] | None
    shift_mm: float = 0.0
    names: dict[int, str] = field(default_factory=dict)

    def find_slice(self, corner: NDArray[np.float64], name: str) -> tuple[int, int, int]:
        """Return the index of a point in LPS millimetres: slice, row and column of the first pixel of a frame."""
        assert self.matrix is not None
        index = np.linalg.solve(self.matrix, [*corner, 1.0])[:3]
        whole = np.rint(index)
        # Slices with uneven gaps lie off the even grid, and what was drawn on them does, too.
        shift = self.shift_mm / float(np.linalg.norm(self.matrix[:3, 0]))
        if (np.abs(index - whole) > [_TOLERANCE_PX + shift, _TOLERANCE_PX, _TOLERANCE_PX]).any():
            raise HeaderMismatchError(
                f"{name} lies between the voxels of the series. Export it on the grid of the series."
            )
        return int(whole[0]), int(whole[1]), int(whole[2])

    def fill(self, place: tuple[Any, ...], inside: NDArray[np.bool_], value: int, name: str) -> None:
        """Set voxels to a value; refuse those that have another one, by the names of both."""
        part = self.values[place]
        taken = part[inside]
        if hidden := sorted({*np.unique(taken).tolist()} - {0, value}):
            n_voxels = int(np.isin(taken, hidden).sum())
            both = " and ".join(f"{number} ({self.names.get(number) or 'no name'})" for number in (hidden[0], value))
            raise MedSegError(
                f"{name}: segments {both} overlap in {n_voxels:,} voxels, and here a voxel has one label. "
                "Export one of them, or each as a file of its own."
            )
        part[inside] = value


def make_lying_labels(image: Image) -> LyingLabels:
    """Return empty labels on the grid of a series."""
    storage = get_png_tiff_storage(image)
    shape = tuple(image.spatial_shape[storage.permutation.index(axis)] for axis in range(len(storage.flips)))
    matrix = None
    if image.affine is not None:
        matrix = _LPS_RAS @ compute_file_affine(image.affine, storage, image.spatial_shape)
    return LyingLabels(np.zeros((1,) * (3 - len(shape)) + shape, np.uint32), matrix, image.slice_shift_mm)
