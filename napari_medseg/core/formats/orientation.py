"""Convert file axes to radiological order. Only flips and transposes are used, so the conversion is reversible."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.slabs import flip_in_place
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import StorageLayout

# Canonical axes as (RAS axis, direction): z grows to the head, y to the back, x to the patient's left.
_VOLUME_AXES = ((2, 1), (1, -1), (0, -1))
# The same for a single plane, by the RAS axis of its normal: axial, coronal (head up), sagittal (face to the left).
_PLANE_AXES = {2: ((1, -1), (0, -1)), 1: ((2, -1), (0, -1)), 0: ((2, -1), (1, -1))}
_SHEAR_TOLERANCE = 1e-6
# Orientation tag of EXIF and TIFF -> storage: the canonical axes (y, x) taken from the file's rows and columns.
TURNED_STORAGE = {
    2: StorageLayout((0, 1), (False, True)),
    3: StorageLayout((0, 1), (True, True)),
    4: StorageLayout((0, 1), (True, False)),
    5: StorageLayout((1, 0), (False, False)),
    6: StorageLayout((1, 0), (False, True)),
    7: StorageLayout((1, 0), (True, True)),
    8: StorageLayout((1, 0), (True, False)),
}


@dataclass(frozen=True, eq=False)
class CanonicalGeometry:
    """Storage layout of a file, affine of its canonical pixels, and spacing (mm) per canonical spatial axis."""

    storage: StorageLayout
    affine: NDArray[np.float64]
    spacing_mm: tuple[float, ...]


def compute_canonical_geometry(
    affine: NDArray[np.float64], shape: tuple[int, ...], normal: int | None, name: str
) -> CanonicalGeometry:
    """Compute the canonical order of a file.

    Parameters
    ----------
    affine
        4x4, file index (i, j, k, 1) to RAS millimetres.
    shape
        Lengths of the three file axes.
    normal
        File axis (of length 1) that is dropped because the image is one plane; `None` for a volume.
    name
        Name of the image, for the error.

    Returns
    -------
    CanonicalGeometry
        `storage.permutation` numbers the file axes without `normal`. With gantry tilt (sheared slices) the spacing in z
        is the distance between planes, so that the product of the spacings is the volume of a voxel.

    Raises
    ------
    MedSegError
        If the affine is not finite or not invertible.
    """
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise MedSegError(
            f"{name} has no usable orientation (its matrix is singular). Export it again from the scanner."
        )
    orientation = io_orientation(affine)
    ras_axis, direction = orientation[:, 0].astype(int).tolist(), orientation[:, 1]
    targets = _VOLUME_AXES if normal is None else _PLANE_AXES[ras_axis[normal]]
    file_axes = [ras_axis.index(axis) for axis, _ in targets]
    flips = tuple(bool(direction[axis] != wanted) for axis, (_, wanted) in zip(file_axes, targets, strict=True))
    canonical = affine @ _build_canonical_to_file_matrix(file_axes, flips, shape, normal)
    kept = sorted(file_axes)
    storage = StorageLayout(tuple(kept.index(axis) for axis in file_axes), flips, affine)
    return CanonicalGeometry(storage, canonical, _compute_spacing(canonical)[3 - len(file_axes) :])


def make_identity_storage(n_axes: int) -> StorageLayout:
    """Storage of a file without orientation: it is assumed to be in radiological order already."""
    return StorageLayout(tuple(range(n_axes)), (False,) * n_axes)


def make_turned_storage(orientation: int, n_axes: int) -> StorageLayout:
    """Storage of a file whose rows and columns are turned or mirrored by the EXIF and TIFF tag Orientation.

    Parameters
    ----------
    orientation
        1 (upright) to 8; other values mean nothing and count as 1.
    n_axes
        2 for a plane; 3 for a stack, whose planes are all turned.
    """
    turned = TURNED_STORAGE.get(orientation)
    if turned is None:
        return make_identity_storage(n_axes)
    before = n_axes - 2
    permutation = (*range(before), *(axis + before for axis in turned.permutation))
    return StorageLayout(permutation, (False,) * before + turned.flips)


def reorient_to_canonical(pixels: NDArray[Any], storage: StorageLayout) -> NDArray[Any]:
    """Convert pixels from file order to canonical order; an RGB axis stays last."""
    return np.ascontiguousarray(_view_as_canonical(pixels, storage))


def reorient_own_pixels(pixels: NDArray[Any], storage: StorageLayout) -> NDArray[Any]:
    """Convert pixels to canonical order in their own memory where it can be done; nobody else may hold them."""
    unflipped = StorageLayout(storage.permutation, (False,) * len(storage.flips))
    turned = _view_as_canonical(pixels, unflipped)
    if not turned.flags.c_contiguous or not turned.flags.writeable:
        return reorient_to_canonical(pixels, storage)
    for axis, is_flipped in enumerate(storage.flips):
        if is_flipped:
            flip_in_place(turned, axis)
    return turned


def _view_as_canonical(pixels: NDArray[Any], storage: StorageLayout) -> NDArray[Any]:
    n_spatial = len(storage.permutation)
    if pixels.ndim == n_spatial:
        return storage.to_canonical(pixels)
    whole = StorageLayout((*storage.permutation, n_spatial), (*storage.flips, False))  # an RGB axis stays last
    return whole.to_canonical(pixels)


def reorient_to_file(pixels: NDArray[Any], storage: StorageLayout) -> NDArray[Any]:
    """Convert pixels from canonical order to file order; inverse of `reorient_to_canonical`."""
    if pixels.ndim == len(storage.permutation):
        return np.ascontiguousarray(storage.to_file(pixels))
    return np.stack([storage.to_file(pixels[..., n]) for n in range(pixels.shape[-1])], axis=-1)


def compute_file_affine(
    canonical: NDArray[np.float64], storage: StorageLayout, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return the matrix of the pixels in file order: index (slice, row, column, 1) to RAS millimetres.

    Parameters
    ----------
    canonical
        4x4 matrix of the canonical pixels, index (z, y, x, 1).
    storage
        Order of two or three axes in the file; a plane is the only slice.
    shape
        Lengths of the canonical axes.
    """
    missing = 3 - len(storage.flips)
    to_canonical = np.eye(4)
    for axis, (file_axis, flip) in enumerate(zip(storage.permutation, storage.flips, strict=True)):
        to_canonical[axis + missing] = 0.0
        to_canonical[axis + missing, file_axis + missing] = -1.0 if flip else 1.0
        to_canonical[axis + missing, 3] = shape[axis] - 1 if flip else 0
    return canonical @ to_canonical + 0.0


def compute_shear_degrees(affine: NDArray[np.float64]) -> float:
    """Angle, in degrees, between the direction in which slices are stacked (first column) and their normal."""
    z, y, x = (affine[:3, n] for n in range(3))
    normal = np.cross(y, x)
    cosine = abs(float(z @ normal)) / float(np.linalg.norm(z) * np.linalg.norm(normal))
    return float(np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0))))


def _build_canonical_to_file_matrix(
    file_axes: list[int], flips: tuple[bool, ...], shape: tuple[int, ...], normal: int | None
) -> NDArray[np.float64]:
    columns = [(axis, flip) for axis, flip in zip(file_axes, flips, strict=True)]
    if normal is not None:
        columns.insert(0, (normal, False))
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for column, (axis, flip) in enumerate(columns):
        matrix[axis, column] = -1.0 if flip else 1.0
        matrix[axis, 3] = shape[axis] - 1 if flip else 0
    return matrix


def _compute_spacing(canonical: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in np.linalg.norm(canonical[:3, :3], axis=0))
    volume = abs(float(np.linalg.det(canonical[:3, :3])))
    if abs(volume - z * y * x) > _SHEAR_TOLERANCE * volume:
        z = volume / (y * x)
    return z, y, x
