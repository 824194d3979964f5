"""The grid of a MetaImage or NRRD file: origin, spacing and directions in LPS millimetres, axes as x, y, z."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.gantry_tilt import is_sheared, straighten_affine
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import compute_file_affine, reorient_to_file
from napari_medseg.core.image import Image, StorageLayout

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ZYX_TO_XYZ = [2, 1, 0, 3]
_NOT_RGB = "colours are written as 8 bits per channel; write this image as .tif"


@dataclass(frozen=True, eq=False)
class LpsGrid:
    """The grid of a file.

    Parameters
    ----------
    matrix
        4x4, file index (i, j, k, 1), where i runs fastest, to LPS millimetres.
    has_place
        Whether the file states a place in the patient; else the matrix only holds the spacing.
    """

    matrix: NDArray[np.float64]
    has_place: bool

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Millimetres per voxel along i, j and k."""
        lengths: NDArray[np.float64] = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return lengths

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors along i, j and k, one per column."""
        return self.matrix[:3, :3] / self.spacing + 0.0

    @property
    def origin(self) -> NDArray[np.float64]:
        """LPS millimetres of the first voxel."""
        return self.matrix[:3, 3]

    def compute_ras_affine(self) -> NDArray[np.float64]:
        """Return the 4x4 matrix from (k, j, i, 1), the index of the array that is read, to RAS millimetres."""
        return (_LPS_RAS @ self.matrix)[:, _ZYX_TO_XYZ] + 0.0


@dataclass(frozen=True, eq=False)
class LyingVolume:
    """Pixels in the order of their file, (z, y, x) or (z, y, x, 3), with their grid and how they were reordered."""

    values: NDArray[Any]
    grid: LpsGrid
    storage: StorageLayout


def lay_in_file_order(pixels: NDArray[Any], image: Image) -> LyingVolume:
    """Lay canonical pixels in rows and columns as the file of their image; a plane becomes one slice.

    The slices of a tilted series lie straight on top of each other, as ITK reads the series (see `gantry_tilt`).

    Raises
    ------
    MedSegError
        If colours have more than 8 bits.
    """
    storage = get_png_tiff_storage(image)
    lying = reorient_to_file(pixels, storage)
    if lying.ndim > len(storage.flips) and lying.dtype != np.uint8:
        raise MedSegError(f"{image.name}: {_NOT_RGB}.")
    if len(storage.flips) == 2:
        lying = lying[np.newaxis]
    return LyingVolume(lying, _make_grid(image, storage), storage)


def _make_grid(image: Image, storage: StorageLayout) -> LpsGrid:
    n_axes = len(storage.flips)
    if image.affine is None:
        spacing = image.spacing_mm or (1.0,) * n_axes
        in_file = [spacing[storage.permutation.index(axis)] for axis in range(n_axes)]
        return LpsGrid(np.diag([*(*in_file[::-1], 1.0)[:3], 1.0]), has_place=False)
    affine = compute_file_affine(image.affine, storage, image.spatial_shape)[:, _ZYX_TO_XYZ]
    if n_axes == 3 and is_sheared(image.affine):
        affine = straighten_affine(affine, 2)
    return LpsGrid(_LPS_RAS @ affine + 0.0, has_place=True)
