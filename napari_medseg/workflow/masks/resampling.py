"""Bring a mask to the grid of its image by nearest neighbour, so that no new values arise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError
from napari_medseg.core.formats.labels import format_size
from napari_medseg.core.image import Image

MIN_COVERED_SHARE = 0.98
"""Of the voxels of an image; a mask that covers less is told."""
MAX_DISTORTION = 0.02
"""Difference of the scales of rows and columns up to which two pictures may show the same."""
BY_PLACE = "by their places in the patient"
BY_SIZE = "taken to show the same field of view"


def resample_mask(mask: Image, image: Image) -> tuple[NDArray[Any], str]:
    """Return the values of a mask on the grid of an image, and how that was done, as text.

    If both files state where their voxels lie in the patient, that counts; voxels outside of the mask become 0. Else
    both are taken to show the same field of view, if rows and columns have the same scale and the slices agree.

    Parameters
    ----------
    mask
        Mask on its own grid, (y, x) or (z, y, x), values as in the file.
    image
        The image that it belongs to.

    Returns
    -------
    NDArray, str
        Array of shape `image.spatial_shape` in the type of the mask, and a remark.

    Raises
    ------
    MedSegError
        If the mask cannot be this image's: they do not overlap in the patient, or have other proportions.
    """
    by_place = mask.affine is not None and image.affine is not None
    to_mask = _find_matrix_by_place(mask, image) if by_place else _find_matrix_by_size(mask, image)
    values, shape = _make_volume(mask.pixels), _make_volume(np.empty(image.spatial_shape, np.bool_)).shape
    moved = affine_transform(values, to_mask, output_shape=shape, order=0, mode="grid-constant", cval=0)
    if mask.pixels.any() and not moved.any():
        raise HeaderMismatchError(
            f"no labelled voxel of the mask lies in {image.name}: they show different places of the patient, or of "
            "different patients. Choose the mask that was made on this image."
        )
    ones = np.ones(values.shape, np.uint8)
    covered = affine_transform(ones, to_mask, output_shape=shape, order=0, mode="grid-constant")
    share = float(np.mean(covered))
    size = f"{format_size(mask.pixels.shape)} to {format_size(image.spatial_shape)} voxels"
    how = f"resampled from {size} by nearest neighbour, {BY_PLACE if by_place else BY_SIZE}"
    if share < MIN_COVERED_SHARE:
        how += f"; the mask covers only {share:.0%} of the image, the rest is taken for background"
    return moved.reshape(image.spatial_shape), how


def _find_matrix_by_place(mask: Image, image: Image) -> NDArray[np.float64]:
    """Return the 4x4 matrix from indices (z, y, x, 1) of the image to those of the mask."""
    assert mask.affine is not None and image.affine is not None  # noqa: PT018 - for the type checker
    try:
        return np.asarray(np.linalg.inv(mask.affine) @ image.affine, dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise HeaderMismatchError(
            f"the mask for {image.name} states an impossible place of its voxels. Export it again."
        ) from error


def _find_matrix_by_size(mask: Image, image: Image) -> NDArray[np.float64]:
    """Return the matrix that lays the outer edges of both on each other."""
    if len(mask.spatial_shape) != len(image.spatial_shape):
        raise _make_size_error(mask, image)
    scale = np.divide(mask.spatial_shape, image.spatial_shape)
    if abs(scale[-1] / scale[-2] - 1) > MAX_DISTORTION or any(scale[:-2] != 1):
        raise _make_size_error(mask, image)
    matrix = np.eye(4)
    for axis, factor in enumerate(reversed(scale)):
        place = 2 - axis
        matrix[place, place], matrix[place, 3] = factor, factor / 2 - 0.5
    return matrix


def _make_size_error(mask: Image, image: Image) -> GridMismatchError:
    return GridMismatchError(
        f"the mask has {format_size(mask.spatial_shape)} voxels, {image.name} {format_size(image.spatial_shape)}, and "
        "one of the files does not say where they lie: they cannot show the same. Choose the mask of this image."
    )


def _make_volume(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.ndim == 3 else values[np.newaxis]
