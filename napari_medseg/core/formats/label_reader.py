"""Read labels and masks on the grid of their image.

A file that states how its voxels lie is believed: a NIfTI matrix, an EXIF orientation, the grid text of this program.
Other files lie as their image is shown, or as it is stored; the size decides where it can.
"""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from napari_medseg.core.containers.several_volumes import refuse_several_volumes
from napari_medseg.core.decoded_size.limit import LABEL_BYTES
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError
from napari_medseg.core.formats.content import refuse_other_content
from napari_medseg.core.formats.discovery import (
    DICOM_SUFFIXES,
    JPEG_SUFFIXES,
    NIFTI_PAIR_SUFFIXES,
    NIFTI_SUFFIXES,
    PNG_JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    VOLUME_SUFFIXES,
    get_suffix,
)
from napari_medseg.core.formats.grid_metadata import GridMetadata
from napari_medseg.core.formats.labels import WRITERS, cast_to_labels, format_size, format_spacing
from napari_medseg.core.formats.mask_channels import choose_mask_channel, read_picture_channel
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskOrientation, MaskPlacement, PlacedMask, place_mask
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_canonical, reorient_to_file
from napari_medseg.core.formats.other_rooms import read_dicom_mask, read_volume_mask, read_volume_mask_image
from napari_medseg.core.formats.png_jpeg import read_png_grid, read_png_jpeg
from napari_medseg.core.formats.tiff import read_tiff_grid, read_tiff_mask
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.nifti.header import came_from_nifti
from napari_medseg.core.nifti.reader import read_nifti

MASK_SUFFIXES = (*WRITERS, *VOLUME_SUFFIXES, *NIFTI_PAIR_SUFFIXES, ".bmp")
"""Of files whose values are exact; JPEG is read as a mask, too."""
_NIFTI1_BYTES = 348

logger = logging.getLogger(__name__)


def read_labels(
    path: Path,
    image: Image | None = None,
    placement: MaskPlacement = AS_STATED,
    *,
    expected_shape: tuple[int, ...] | None = None,
) -> NDArray[Any]:
    """Read labels in canonical order.

    Parameters
    ----------
    path
        A file of `write_labels`, or labels of another program in the same formats.
    image
        The image that they belong to.
    placement
        How labels lie that do not say so.
    expected_shape
        Shape that labels of this program must have. Such a file is read however small it is on disk, or however little
        memory is free: empty labels shrink a thousandfold. Larger ones are refused. `None` for files of other programs.

    Returns
    -------
    NDArray
        Unsigned integers of shape `image.spatial_shape`.

    Raises
    ------
    MedSegError
        If the file is damaged, holds no labels, or has another grid; the text says how the grids differ.
    """
    if get_suffix(path) not in (*MASK_SUFFIXES, *DICOM_SUFFIXES):
        raise MedSegError(f"{path.name}: labels are read from {', '.join(sorted(MASK_SUFFIXES))}. Convert them.")
    expected = None if expected_shape is None else math.prod(expected_shape) * LABEL_BYTES
    placed = read_mask(path, image, placement, expected_bytes=expected)
    for note in placed.notes:
        logger.warning("%s: %s", path.name, note)
    return cast_to_labels(placed.pixels, path.name)


@refuse_several_volumes
def read_mask(
    path: Path, image: Image | None, placement: MaskPlacement = AS_STATED, *, expected_bytes: int | None = None
) -> PlacedMask:
    """Read a mask in canonical order. Values are not changed: fractions and JPEG values are allowed.

    Parameters are those of `read_labels`; the file may also be JPEG. `expected_bytes` is what it takes at most, if that
    is known.

    Raises
    ------
    MedSegError
        If the file is damaged, shows different drawings in its colours, or has another grid.
    """
    suffix = _get_mask_suffix(path)
    if suffix in (*NIFTI_SUFFIXES, *NIFTI_PAIR_SUFFIXES):
        return _read_nifti_mask(path, image, placement, expected_bytes)
    if suffix in VOLUME_SUFFIXES:
        return read_volume_mask(path, image, placement, expected_bytes)
    if suffix in DICOM_SUFFIXES:
        return read_dicom_mask(path, image)
    is_tiff = suffix in TIFF_SUFFIXES
    found, notes, is_stated = (_read_tiff_mask if is_tiff else _read_picture_mask)(path, expected_bytes)
    if image is None:
        return PlacedMask(found.pixels, notes)
    if placement.same_voxels and found.storage is not None:
        placed = place_mask(reorient_to_file(found.pixels, found.storage), image, placement, None)
        _refuse_other_size(placed.pixels, image, path.name)
        return replace(placed, notes=(*notes, *placed.notes))
    placed = PlacedMask(found.pixels)
    if not is_stated:
        placed = place_mask(found.pixels, image, placement, _get_default(image, MaskOrientation.SHOWN))
    _refuse_other_grid(found.replace_pixels(placed.pixels), image, path.name)
    return replace(placed, notes=(*notes, *placed.notes))


@refuse_several_volumes
def read_mask_image(path: Path) -> Image:
    """Read a mask on its own grid, with the spacing and affine that its file states; values as in the file.

    A NIfTI file without qform and sform states no place, so its affine is `None`.

    Raises
    ------
    MedSegError
        If the file is damaged, or shows different drawings in its colours.
    """
    suffix = _get_mask_suffix(path)
    if suffix in (*NIFTI_SUFFIXES, *NIFTI_PAIR_SUFFIXES):
        found = _take_mask_channel(read_nifti(path), path.name)[0]
        return found if _has_orientation(found) else replace(found, affine=None)
    if suffix in VOLUME_SUFFIXES:
        return read_volume_mask_image(path)
    if suffix in DICOM_SUFFIXES:
        raise MedSegError(f"{path.name} is laid on its own series only; it is not resampled to another grid.")
    return (_read_tiff_mask if suffix in TIFF_SUFFIXES else _read_picture_mask)(path, None)[0]


def _get_mask_suffix(path: Path) -> str:
    suffix = get_suffix(path)
    known_suffixes = {*MASK_SUFFIXES, *JPEG_SUFFIXES, *DICOM_SUFFIXES}
    if suffix not in known_suffixes:
        known = ", ".join(sorted(known_suffixes))
        raise MedSegError(f"{path.name}: masks are read from {known}. Convert them.")
    refuse_other_content(path)
    return suffix


def _get_default(image: Image, for_nifti: MaskOrientation) -> MaskOrientation | None:
    """How a mask lies that says nothing and fits both ways; `None`: as stored, without a doubt.

    People draw on a photograph as it is shown. Other programs show DICOM slices and the files of this program as they
    are stored.
    """
    if came_from_nifti(image):
        return for_nifti
    if not image.sources or get_suffix(image.sources[0]) not in (*PNG_JPEG_SUFFIXES, *TIFF_SUFFIXES):
        return None
    return None if _read_grid(image.sources[0]).storage is not None else MaskOrientation.SHOWN


def _read_picture_mask(path: Path, expected_bytes: int | None) -> tuple[Image, tuple[str, ...], bool]:
    """Return a PNG or JPEG mask as an image, remarks, and whether the file states how it lies."""
    found = read_png_jpeg(path, expected_bytes)
    channel = read_picture_channel(path, expected_bytes)
    storage = found.storage or make_identity_storage(2)
    is_turned = not _is_identity(storage)
    has_grid = get_suffix(path) == ".png" and read_png_grid(path, expected_bytes).storage is not None
    is_stated = is_turned or has_grid
    if channel is None:
        return found, (), is_stated
    pixels = reorient_to_canonical(channel.values, storage)
    plain = Image(pixels, "YX", found.spacing_mm, found.affine, name=found.name, sources=(path,), storage=storage)
    return plain, channel.notes, is_stated


def _read_tiff_mask(path: Path, expected_bytes: int | None) -> tuple[Image, tuple[str, ...], bool]:
    """Return a TIFF mask as an image, remarks, and whether the file states how it lies."""
    found, notes = read_tiff_mask(path, expected_bytes)
    is_turned = found.storage is not None and not _is_identity(found.storage)
    return found, notes, is_turned or read_tiff_grid(path).storage is not None


def _read_nifti_mask(
    path: Path, image: Image | None, placement: MaskPlacement, expected_bytes: int | None
) -> PlacedMask:
    """Read a NIfTI mask: by its matrix, or in file order if the file or its image has none."""
    found, notes = _take_mask_channel(read_nifti(path, expected_bytes), path.name)
    if image is None:
        return PlacedMask(found.pixels, notes)
    is_coded = _has_orientation(found)
    is_believed = is_coded or found.has_same_grid(image)
    if image.affine is not None and is_believed and not placement.same_voxels:
        _refuse_other_grid(found, image, path.name)
        return PlacedMask(found.pixels, notes)
    default = None if placement.same_voxels else _get_default(image, MaskOrientation.STORED)
    if default is not None and not is_coded:
        default = None if _is_our_file(found) else MaskOrientation.STORED
    placed = _place_nifti_order(found, image, placement, default, path.name)
    return replace(placed, notes=(*notes, *placed.notes))


def _take_mask_channel(found: Image, name: str) -> tuple[Image, tuple[str, ...]]:
    """Return a mask that was stored in colours with one number per voxel, and remarks."""
    if not found.axes.endswith("C"):
        return found, ()
    channel = choose_mask_channel(found.pixels, name)
    return replace(found, pixels=channel.values, axes=found.spatial_axes, units="grey"), channel.notes


def _place_nifti_order(
    found: Image, image: Image, placement: MaskPlacement, default: MaskOrientation | None, name: str
) -> PlacedMask:
    """Lay the voxels of a NIfTI file on an image in file order: x is the first axis, or the last if only that fits."""
    in_file = reorient_to_file(found.pixels, found.storage or make_identity_storage(found.pixels.ndim))
    placed = place_mask(in_file.T, image, placement, default)
    if placed.pixels.shape == image.spatial_shape:
        doubt = "its first axis was taken as x, as NIfTI says; if it is y, write the array transposed"
        is_in_doubt = _may_be_rows_first(in_file, found) and not placement.same_voxels
        return replace(placed, notes=(*placed.notes, doubt)) if is_in_doubt else placed
    rows_first = place_mask(in_file, image, placement, default)
    if rows_first.pixels.shape != image.spatial_shape:
        _refuse_other_size(in_file.T, image, name)
    note = "its first axis was taken as the rows, because only that fits"
    return replace(rows_first, notes=(*rows_first.notes, note))


def _may_be_rows_first(in_file: NDArray[Any], found: Image) -> bool:
    """Whether a square plane has the identity matrix, as written from an array of rows in Python."""
    if in_file.ndim != 2 or len(set(in_file.shape)) != 1 or found.storage is None or found.storage.affine is None:
        return False
    return np.array_equal(found.storage.affine, np.eye(4)) and not np.array_equal(in_file, in_file.T)


def _has_orientation(found: Image) -> bool:
    """Whether a NIfTI file states an orientation; without qform and sform its matrix is only nibabel's default."""
    header = _parse_header(found)
    return header is None or int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0


def _is_our_file(found: Image) -> bool:
    """Whether this program wrote the NIfTI file: without a matrix, its voxels lie in the order of the image's file."""
    header = _parse_header(found)
    return header is not None and bytes(header["descrip"]).startswith(b"napari-medseg")


def _parse_header(found: Image) -> Nifti1Header | None:
    content = b"" if found.storage is None else found.storage.nifti_header
    if not content:
        return None
    return (Nifti1Header if len(content) == _NIFTI1_BYTES else Nifti2Header)(content, check=False)


def _read_grid(path: Path) -> GridMetadata:
    if not path.exists():
        return GridMetadata()
    if get_suffix(path) in TIFF_SUFFIXES:
        return read_tiff_grid(path)
    return read_png_grid(path) if get_suffix(path) == ".png" else GridMetadata()


def _is_identity(storage: StorageLayout) -> bool:
    return storage.permutation == tuple(range(len(storage.flips))) and not any(storage.flips)


def _refuse_other_grid(found: Image, image: Image, name: str) -> None:
    _refuse_other_size(found.pixels, image, name)
    if found.has_same_grid(image):
        return
    if (
        found.spacing_mm is not None
        and image.spacing_mm is not None
        and not np.allclose(found.spacing_mm, image.spacing_mm, atol=1e-3)
    ):
        reason = f"its voxels are {format_spacing(found.spacing_mm)} mm, not {format_spacing(image.spacing_mm)} mm"
    else:
        reason = "its position or orientation in the patient differs"
    raise HeaderMismatchError(
        f"{name} does not fit on {image.name}: {reason}. Choose the labels that were made on this image."
    )


def _refuse_other_size(pixels: NDArray[Any], image: Image, name: str) -> None:
    if pixels.shape != image.spatial_shape:
        raise GridMismatchError(
            f"{name} has {format_size(pixels.shape)} voxels, but {image.name} has "
            f"{format_size(image.spatial_shape)}. Choose the labels that were made on this image."
        )
