"""Write and read labels on the grid of their image. Values never overflow; labels on another grid raise an error."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import GridMismatchError, MedSegError, look_up
from napari_medseg.core.formats.discovery import JPEG_SUFFIXES, NIFTI_SUFFIXES, TIFF_SUFFIXES, get_suffix
from napari_medseg.core.formats.grid_metadata import GridMetadata, make_grid_json
from napari_medseg.core.formats.nifti import came_from_nifti, read_nifti, write_nifti
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_canonical, reorient_to_file
from napari_medseg.core.formats.png_jpeg import (
    get_exif_orientation,
    read_indexed_png,
    read_png_grid,
    read_png_jpeg,
    write_png,
)
from napari_medseg.core.formats.tiff import read_indexed_tiff, read_tiff_grid, write_tiff
from napari_medseg.core.image import Image, StorageLayout


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
_READERS: dict[str, Callable[[Path], Image]] = {
    **dict.fromkeys(TIFF_SUFFIXES, read_indexed_tiff),
    **dict.fromkeys(NIFTI_SUFFIXES, read_nifti),
    ".png": read_indexed_png,
}
_MASK_READERS = _READERS | dict.fromkeys(JPEG_SUFFIXES, read_png_jpeg)
_GRID_READERS: dict[str, Callable[[Path], GridMetadata]] = {
    **dict.fromkeys(TIFF_SUFFIXES, read_tiff_grid),
    ".png": read_png_grid,
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
    _find_writer(path)(path, image.pixels, image)


def read_labels(path: Path, image: Image | None = None) -> NDArray[Any]:
    """Read labels in canonical order.

    Parameters
    ----------
    path
        A file of `write_labels`, or labels of another program in the same formats.
    image
        The image that they belong to. A label file without orientation is assumed to have that of the image's file.

    Returns
    -------
    NDArray
        Unsigned integers of shape `image.spatial_shape`.

    Raises
    ------
    MedSegError
        If the file is damaged, holds no labels, or has another grid; the text says how the grids differ.
    """
    labels = _read_on_grid(path, image, _READERS)
    return _cast_smallest_unsigned(_check_labels(labels, labels.shape, path.name), path.name)


def read_mask(path: Path, image: Image) -> NDArray[Any]:
    """Read a mask of one label in canonical order. Values are not changed: fractions and JPEG values are allowed.

    Parameters
    ----------
    path
        As in `read_labels`, or a JPEG file.
    image
        The image that the mask belongs to, as in `read_labels`.

    Raises
    ------
    MedSegError
        If the file is damaged, in colour, or has another grid.
    """
    return _read_on_grid(path, image, _MASK_READERS)


def _read_on_grid(path: Path, image: Image | None, readers: Mapping[str, Callable[[Path], Image]]) -> NDArray[Any]:
    """Read the pixels of a file that lies on the grid of an image."""
    suffix = get_suffix(path)
    if suffix not in readers:
        raise MedSegError(f"{path.name}: labels are read from {', '.join(sorted(readers))}. Convert them.")
    found = readers[suffix](path)
    if found.units == "rgb":
        raise MedSegError(
            f"{path.name} is a colour image; labels are one number per pixel. Export label values, not colours."
        )
    if image is not None:
        own = get_png_tiff_storage(image)
        if suffix in NIFTI_SUFFIXES and image.affine is None:
            found = _put_in_file_order(found)
            lies_as_in_file = True
        else:
            lies_as_in_file = _lacks_orientation(path, found)
        if lies_as_in_file and len(own.flips) == found.pixels.ndim:
            spacing = found.spacing_mm and tuple(found.spacing_mm[axis] for axis in own.permutation)
            found = replace(found, pixels=reorient_to_canonical(found.pixels, own), spacing_mm=spacing)
        _refuse_other_grid(found, image, path.name)
    return found.pixels


def _lacks_orientation(path: Path, found: Image) -> bool:
    """Whether neither the grid of this program nor an Orientation tag says how the pixels of a file lie."""
    if get_suffix(path) in NIFTI_SUFFIXES or found.storage is None:
        return False
    if get_suffix(path) in _GRID_READERS and _GRID_READERS[get_suffix(path)](path).storage is not None:
        return False
    plain = make_identity_storage(len(found.storage.flips))
    return (found.storage.permutation, found.storage.flips) == (plain.permutation, plain.flips)


def _put_in_file_order(found: Image) -> Image:
    """Return a NIfTI image as rows and columns of its file, whatever its matrix: its picture has none."""
    if found.storage is None:
        return found
    spacing = found.spacing_mm
    if spacing is not None:
        spacing = tuple(spacing[n] for n in np.argsort(found.storage.permutation))[::-1]
    return replace(found, pixels=reorient_to_file(found.pixels, found.storage).T, spacing_mm=spacing, affine=None)


def _refuse_other_grid(found: Image, image: Image, name: str) -> None:
    if found.spatial_shape != image.spatial_shape:
        raise GridMismatchError(
            f"{name} has {_format_size(found.spatial_shape)} voxels, but {image.name} has "
            f"{_format_size(image.spatial_shape)}. Choose the labels that were made on this image."
        )
    if found.has_same_grid(image):
        return
    if (
        found.spacing_mm is not None
        and image.spacing_mm is not None
        and not np.allclose(found.spacing_mm, image.spacing_mm, atol=1e-3)
    ):
        reason = f"its voxels are {_format_spacing(found.spacing_mm)} mm, not {_format_spacing(image.spacing_mm)} mm"
    else:
        reason = "its position or orientation in the patient differs"
    raise GridMismatchError(
        f"{name} does not fit on {image.name}: {reason}. Choose the labels that were made on this image."
    )


def _check_labels(labels: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if labels.shape != shape:
        raise MedSegError(
            f"{name}: the labels are {_format_size(labels.shape)}, but the image is {_format_size(shape)} voxels."
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


def _format_size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _format_spacing(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing)
