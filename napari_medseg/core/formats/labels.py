"""Write labels on the grid of their image. Values never overflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.formats.discovery import NIFTI_SUFFIXES, TIFF_SUFFIXES, VOLUME_SUFFIXES, get_suffix
from napari_medseg.core.formats.grid_metadata import make_grid_json
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_file
from napari_medseg.core.formats.other_writers import write_volume
from napari_medseg.core.formats.png_jpeg import get_exif_orientation, write_png
from napari_medseg.core.formats.tiff import write_tiff
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.nifti.header import came_from_nifti
from napari_medseg.core.nifti.writer import write_nifti


def _write_png(path: Path, pixels: NDArray[Any], image: Image) -> None:
    if len(image.spatial_axes) == 3:
        raise MedSegError(f"{path.name}: PNG holds one plane, but {image.name} is a volume. Choose .tif or .nii.gz.")
    storage = get_png_tiff_storage(image)
    write_png(path, reorient_to_file(pixels, storage), make_grid_json(image, storage), get_exif_orientation(image))


def _write_tiff(path: Path, pixels: NDArray[Any], image: Image) -> None:
    write_tiff(path, pixels, image, get_png_tiff_storage(image))


WRITERS: dict[str, Callable[[Path, NDArray[Any], Image], None]] = {
    **dict.fromkeys(TIFF_SUFFIXES, _write_tiff),
    **dict.fromkeys(NIFTI_SUFFIXES, write_nifti),
    ".png": _write_png,
}


def get_png_tiff_storage(image: Image) -> StorageLayout:
    """Storage order in which TIFF and PNG files of an image are written.

    The order of the source if it has rows and columns (DICOM, TIFF, a rotated photograph). An image from NIfTI, whose
    first axis is x, is written in radiological order.
    """
    if image.storage is None or came_from_nifti(image):
        return make_identity_storage(len(image.spatial_axes))
    return image.storage


def write_labels(path: Path, labels: NDArray[Any], image: Image) -> None:
    """Write labels on the grid and in the storage order of their image.

    Parameters
    ----------
    path
        Ends in ``.tif``, ``.tiff``, ``.nii``, ``.nii.gz`` or ``.png``.
    labels
        Integers from 0 in canonical order, of shape `image.spatial_shape`. They are written in the smallest unsigned
        type that holds them all.
    image
        Gives the geometry. The header of a NIfTI source is copied, so that the affine is bit-identical.

    Raises
    ------
    MedSegError
        For another suffix, another shape, values that are not labels, or a folder that cannot be written to.
    """
    _find_writer(path)(
        path, _cast_smallest_unsigned(_check_labels(labels, image.spatial_shape, path.name), path.name), image
    )


def write_image(path: Path, image: Image) -> None:
    """Write an image in the same formats and storage order as its labels.

    Raises
    ------
    MedSegError
        For another suffix, for pixels that the format cannot store, or a folder that cannot be written to.
    """
    if get_suffix(path) in VOLUME_SUFFIXES:
        write_volume(path, image.pixels, image)
        return
    _find_writer(path)(path, image.pixels, image)


def cast_to_labels(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return values as labels in the smallest unsigned type that holds them.

    Raises
    ------
    MedSegError
        If they are fractions, below 0 or need more than 32 bits; the text has the `name` of the file.
    """
    return _cast_smallest_unsigned(_check_labels(values, values.shape, name), name)


def format_spacing(spacing: tuple[float, ...]) -> str:
    """Millimetres of a voxel for a message, such as ``2.5 x 0.7 x 0.7``."""
    return " x ".join(f"{value:.4g}" for value in spacing)


def format_size(shape: tuple[int, ...]) -> str:
    """Return a shape as text for a message."""
    return " x ".join(map(str, shape))


def _check_labels(labels: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if labels.shape != shape:
        raise MedSegError(
            f"{name}: the labels are {format_size(labels.shape)}, but the image is {format_size(shape)} voxels."
        )
    if labels.size == 0:
        raise MedSegError(f"{name}: the label array is empty; its shape is {labels.shape}. Export it again.")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise MedSegError(
            f"{name} holds fractions such as {labels[labels != np.rint(labels)][0]:.3g}; labels are whole numbers."
        )
    if labels.min() < 0:
        raise MedSegError(f"{name} holds the negative value {labels.min()}; labels count from 0 (background).")
    return labels


def _cast_smallest_unsigned(labels: NDArray[Any], name: str) -> NDArray[Any]:
    largest = int(labels.max())
    for dtype in (np.uint8, np.uint16, np.uint32):
        if largest <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    raise MedSegError(f"{name} holds the label {largest}; the largest allowed value has 32 bits. Renumber the labels.")


def _find_writer(path: Path) -> Callable[[Path, NDArray[Any], Image], None]:
    suffix = get_suffix(path)
    return look_up(WRITERS, suffix, problem=f"cannot write {path.name}: {suffix or 'no suffix'} is unknown")
