"""Labels out and back in, on the source's own grid; the values never overflow, and another grid is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, OtherGridError
from napari_medseg.core.formats.discovery import NIFTI_SUFFIXES, TIFF_SUFFIXES, suffix_of
from napari_medseg.core.formats.grid_metadata import Grid, grid_json
from napari_medseg.core.formats.nifti import came_from_nifti, read_nifti, write_nifti
from napari_medseg.core.formats.orientation import canonical_pixels, file_pixels, plain_storage
from napari_medseg.core.formats.png_jpeg import png_grid, read_indexed_picture, read_picture, write_png
from napari_medseg.core.formats.tiff import read_tiff, tiff_grid, write_tiff
from napari_medseg.core.image import Image, Storage

JPEG_SUFFIXES = (".jpg", ".jpeg")


def _write_png(path: Path, pixels: NDArray[Any], image: Image) -> None:
    if len(image.spatial_axes) == 3:
        raise MedSegError(f"{path.name}: PNG holds one plane, but {image.name} is a volume. Choose .tif or .nii.gz.")
    storage = picture_storage(image)
    write_png(path, file_pixels(pixels, storage), grid_json(image, storage))


def _write_tiff(path: Path, pixels: NDArray[Any], image: Image) -> None:
    write_tiff(path, pixels, image, picture_storage(image))


WRITERS: dict[str, Callable[[Path, NDArray[Any], Image], None]] = {
    **dict.fromkeys(TIFF_SUFFIXES, _write_tiff),
    **dict.fromkeys(NIFTI_SUFFIXES, write_nifti),
    ".png": _write_png,
}
_READERS: dict[str, Callable[[Path], Image]] = {
    **dict.fromkeys(TIFF_SUFFIXES, read_tiff),
    **dict.fromkeys(NIFTI_SUFFIXES, read_nifti),
    ".png": read_indexed_picture,
}
_MASK_READERS = _READERS | dict.fromkeys(JPEG_SUFFIXES, read_picture)
_GRIDS: dict[str, Callable[[Path], Grid]] = {**dict.fromkeys(TIFF_SUFFIXES, tiff_grid), ".png": png_grid}


def picture_storage(image: Image) -> Storage:
    """Order in which TIFF and PNG of an image are written.

    That of the source where it has rows and columns, too (DICOM, TIFF, a turned photograph); a NIfTI source, whose
    first axis is no page, is written in radiological order.
    """
    if image.storage is None or came_from_nifti(image):
        return plain_storage(len(image.spatial_axes))
    return image.storage


def write_labels(path: Path, labels: NDArray[Any], image: Image) -> None:
    """Write labels on the grid and in the storage order of their image.

    Parameters
    ----------
    path
        Ends in ``.tif``, ``.tiff``, ``.nii``, ``.nii.gz`` or ``.png``.
    labels
        Whole numbers from 0 in canonical order, of `image.spatial_shape`. The smallest unsigned type that holds
        them all is written.
    image
        Whose geometry they have; a NIfTI source's header is repeated, so that the affine is equal bit for bit.

    Raises
    ------
    MedSegError
        For another suffix, another shape, values that are no labels, or a folder that cannot be written to.
    """
    _writer(path)(path, _compact(_checked(labels, image.spatial_shape, path.name), path.name), image)


def write_image(path: Path, image: Image) -> None:
    """Write an image, in the same formats and order as its labels.

    Raises
    ------
    MedSegError
        For another suffix, for pixels that the format cannot hold, or a folder that cannot be written to.
    """
    _writer(path)(path, image.pixels, image)


def read_labels(path: Path, image: Image | None = None) -> NDArray[Any]:
    """Read labels in canonical order.

    Parameters
    ----------
    path
        What `write_labels` wrote, or labels of another program in the same formats.
    image
        The image that they belong to. A file that says nothing of orientation is taken to lie as the image's file does.

    Returns
    -------
    NDArray
        Unsigned whole numbers, of `image.spatial_shape`.

    Raises
    ------
    MedSegError
        If the file is damaged, holds no labels, or lies on another grid; the text says how they differ.
    """
    labels = _placed(path, image, _READERS)
    return _compact(_checked(labels, labels.shape, path.name), path.name)


def read_mask(path: Path, image: Image) -> NDArray[Any]:
    """Read a drawing of one thing in canonical order, its values as they are: fractions and JPEG's are no labels yet.

    Parameters
    ----------
    path
        As of `read_labels`, or JPEG.
    image
        The image that it belongs to, as of `read_labels`.

    Raises
    ------
    MedSegError
        If the file is damaged, in colours, or lies on another grid.
    """
    return _placed(path, image, _MASK_READERS)


def _placed(path: Path, image: Image | None, readers: Mapping[str, Callable[[Path], Image]]) -> NDArray[Any]:
    """Read the pixels of a file that lies on the grid of an image."""
    suffix = suffix_of(path)
    if suffix not in readers:
        raise MedSegError(f"{path.name}: labels are read from {', '.join(sorted(readers))}. Convert them.")
    found = readers[suffix](path)
    if found.units == "rgb":
        raise MedSegError(
            f"{path.name} is a colour picture; labels are one number per pixel. Export numbers, not colours."
        )
    pixels = found.pixels
    if image is not None:
        own = picture_storage(image)
        if _says_no_orientation(path, found) and len(own.flips) == pixels.ndim:
            pixels = canonical_pixels(pixels, own)
        _refuse_other_grid(found.with_pixels(pixels), image, path.name)
    return pixels


def _says_no_orientation(path: Path, found: Image) -> bool:
    if suffix_of(path) in _GRIDS:
        return _GRIDS[suffix_of(path)](path).storage is None
    if suffix_of(path) not in JPEG_SUFFIXES or found.storage is None:
        return False
    plain = plain_storage(2)
    return (found.storage.permutation, found.storage.flips) == (plain.permutation, plain.flips)


def _refuse_other_grid(found: Image, image: Image, name: str) -> None:
    if found.spatial_shape != image.spatial_shape:
        raise OtherGridError(
            f"{name} has {_size(found.spatial_shape)} voxels, but {image.name} has {_size(image.spatial_shape)}. "
            "Choose the labels that were made on this image."
        )
    if found.same_grid_as(image):
        return
    if (
        found.spacing_mm is not None
        and image.spacing_mm is not None
        and not np.allclose(found.spacing_mm, image.spacing_mm, atol=1e-3)
    ):
        reason = f"its voxels are {_lengths(found.spacing_mm)} mm, not {_lengths(image.spacing_mm)} mm"
    else:
        reason = "it lies elsewhere in the patient, or is turned or mirrored"
    raise OtherGridError(
        f"{name} does not fit on {image.name}: {reason}. Choose the labels that were made on this image."
    )


def _checked(labels: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if labels.shape != shape:
        raise MedSegError(f"{name}: the labels are {_size(labels.shape)}, but the image is {_size(shape)} voxels.")
    if labels.size == 0:
        raise MedSegError(f"{name}: there are no labels to speak of; their size is {labels.shape}.")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise MedSegError(
            f"{name} holds fractions such as {labels[labels != np.rint(labels)][0]:.3g}; labels are whole."
        )
    if labels.min() < 0:
        raise MedSegError(f"{name} holds the negative value {labels.min()}; labels count from 0 (background).")
    return labels


def _compact(labels: NDArray[Any], name: str) -> NDArray[Any]:
    largest = int(labels.max())
    for dtype in (np.uint8, np.uint16, np.uint32):
        if largest <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    raise MedSegError(f"{name} holds the label {largest}; at most 32 bits are kept. Number the labels anew.")


def _writer(path: Path) -> Callable[[Path, NDArray[Any], Image], None]:
    suffix = suffix_of(path)
    if suffix not in WRITERS:
        raise MedSegError(
            f"cannot write {path.name}: {suffix or 'no suffix'} is unknown; choose one of {sorted(WRITERS)}"
        )
    return WRITERS[suffix]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _lengths(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing)
