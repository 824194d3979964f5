"""Write NIfTI in the storage order and with the bit-identical matrix of the source."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.gantry_tilt import is_sheared, straighten_affine
from napari_medseg.core.formats.orientation import compute_file_affine, make_identity_storage, reorient_to_file
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.nifti.header import FILE_ORDER, NIFTI1_BYTES, came_from_nifti, clear_texts, parse_header

_GZIP_LEVEL = 1  # as nibabel
_NIFTI1_MAX_LENGTH = 32767
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def write_nifti(path: Path, pixels: NDArray[Any], image: Image) -> None:
    """Write canonical pixels on the grid of an image, in the order of its file.

    The first axis of the written file runs along a row of the image, the second down its columns, the third through the
    slices. Names and remarks in the header of a NIfTI source are not copied: they may name the patient.

    Parameters
    ----------
    path
        Ends in ``.nii`` or ``.nii.gz``.
    pixels
        (y, x) or (z, y, x) in canonical order, plus a last axis of 3 for RGB.
    image
        Gives the geometry. Voxels lie in the order of its file. Without an affine, qform and sform code are 0.

    Raises
    ------
    MedSegError
        If the folder cannot be written to.
    """
    storage = image.storage
    if storage is not None and storage.nifti_header:
        written = _build_with_source_header(pixels, storage, parse_header(storage.nifti_header))
    elif storage is not None and came_from_nifti(image) and len(storage.flips) == 3 and "C" not in image.axes:
        written = nib.Nifti1Image(reorient_to_file(pixels, storage), storage.affine)
    else:
        written = _build_in_file_order(pixels, image)
    # Not nib.save: after a failed write it keeps the file open, and a deleted file would still fill the disk.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        if get_suffix(path) == ".nii.gz":
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
                written.to_stream(packed)
        else:
            written.to_stream(file)


def _build_with_source_header(
    pixels: NDArray[Any], storage: StorageLayout, header: nib.Nifti1Header
) -> nib.Nifti1Image:
    """Return pixels in the source's storage order with the source's header; only the data type is changed."""
    values = reorient_to_file(pixels, storage)
    if values.ndim > len(storage.flips):
        values = _convert_to_rgb_dtype(values)
    values = values.reshape(header.get_data_shape())
    fresh = header.copy()
    fresh.set_data_dtype(values.dtype)
    fresh.set_slope_inter(1, 0)
    fresh["cal_min"] = fresh["cal_max"] = 0
    clear_texts(fresh)
    kind = nib.Nifti1Image if int(header["sizeof_hdr"]) == NIFTI1_BYTES else nib.Nifti2Image
    # affine=None: nibabel then keeps qform and sform of the header without rounding them again.
    written = kind(values, None, fresh)
    if int(header["sform_code"]) > 0 and int(header["qform_code"]) == 0 and is_sheared(header.get_sform()):
        written.set_qform(straighten_affine(header.get_sform(), 2), code=1)  # ITK cannot open it otherwise
    return written


def _convert_to_rgb_dtype(colour: NDArray[Any]) -> NDArray[Any]:
    """Convert uint8 (..., 3) to NIfTI's structured RGB type (...)."""
    values = np.empty(colour.shape[:-1], dtype=_RGB)
    for n, word in enumerate("RGB"):
        values[word] = colour[..., n]
    return values


def _build_in_file_order(pixels: NDArray[Any], image: Image) -> nib.Nifti1Image:
    """Return pixels in the order of their file, so that other programs find voxel on voxel.

    Without an affine nothing is known about the patient: both codes are 0, and rows and columns lie as in the file.
    """
    n_spatial = len(image.spatial_axes)
    storage = image.storage or make_identity_storage(n_spatial)
    lying = reorient_to_file(pixels, storage)
    volume = lying if n_spatial == 3 else lying[np.newaxis]
    if volume.ndim == 4:
        volume = _convert_to_rgb_dtype(volume)
    # NIfTI-1 counts voxels with 16 bits.
    kind = nib.Nifti1Image if max(volume.shape) <= _NIFTI1_MAX_LENGTH else nib.Nifti2Image
    if image.affine is None:
        written = kind(np.transpose(volume, (2, 1, 0)), None)
        spacing = image.spacing_mm or (1.0,) * n_spatial
        in_file = [spacing[storage.permutation.index(axis)] for axis in range(n_spatial)]
        written.header.set_zooms((*in_file[::-1], 1.0)[:3])
        written.header["descrip"] = FILE_ORDER
        if image.spacing_mm is not None:
            written.header.set_xyzt_units("mm")
        return written
    affine = compute_file_affine(image.affine, storage, image.spatial_shape)[:, [2, 1, 0, 3]]
    written = kind(np.transpose(volume, (2, 1, 0)), affine)
    written.header.set_xyzt_units("mm")
    _set_codes(written, affine)
    return written


def _set_codes(written: nib.Nifti1Image, affine: NDArray[np.float64]) -> None:
    """Write the matrix as sform, and the grid that ITK sees as qform; they only differ for a tilted series.

    ITK opens no sheared sform, but then takes the qform (checked with SimpleITK 2.5); nibabel prefers the sform.
    """
    written.set_sform(affine, code=1)
    written.set_qform(straighten_affine(affine, 2) if is_sheared(affine) else affine, code=1)
