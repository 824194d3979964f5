"""NIfTI: reads any storage order; writes the storage order and the bit-identical matrix of the source."""

import gzip
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.decoded_size.bounded_stream import BoundedStream
from napari_medseg.core.decoded_size.limit import DEFLATE_MAX_RATIO, format_bytes, refuse_above_limit
from napari_medseg.core.decoded_size.pair_stream import START_BYTES, PairStream, find_pair
from napari_medseg.core.decoded_size.slabs import convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.content import is_gzip, is_half_of_pair
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import NIFTI_SUFFIXES, get_suffix
from napari_medseg.core.formats.gantry_tilt import is_sheared, straighten_affine
from napari_medseg.core.formats.orientation import (
    CanonicalGeometry,
    compute_canonical_geometry,
    compute_file_affine,
    make_identity_storage,
    reorient_own_pixels,
    reorient_to_file,
)
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, StorageLayout, cast_compact, cast_native

_NO_ORIENTATION = "The file has no orientation (qform and sform code 0); right and left follow nibabel's default."
_GZIP_LEVEL = 1  # as nibabel
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_NIFTI1_MAX_LENGTH = 32767
_MAX_HEADER_BYTES = 2**20
"""Room for the extensions of a header, beside the voxels of an expected size."""
_FILE_ORDER = b"napari-medseg: voxels in file order"
"""Remark in files of this program whose codes are 0: rows and columns lie as in the source."""
_REMARKS = ("descrip", "aux_file", "db_name", "intent_name", "data_type", "unused_str")
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])


def read_nifti(path: Path, expected_bytes: int | None = None) -> Image:
    """Read a volume or a plane; `expected_bytes` is what it takes at most, if that is known (see `compute_limit`).

    Raises
    ------
    MedSegError
        If it is damaged (the checksum of a `.nii.gz` fails), would take too much memory, has more than three
        dimensions, or holds NaN.
    """
    with translate_decode_errors(path, "NIfTI"), _open(path, expected_bytes) as stream:
        source = _find_kind(stream).from_stream(stream)
        shape, normal = _find_spatial_shape(source.shape, path.name)
        _refuse_by_size(_compute_bytes(source), path, expected_bytes)
        values, colour = _read_values(source)
        stream.read_to_end()  # to where gzip keeps checksum and length; nibabel stops before them
        pixels = values.reshape((*shape, 3) if colour else shape)
        affine = np.array(source.affine, dtype=np.float64)
        if bytes(source.header["descrip"]).rstrip(b"\0") == _FILE_ORDER:
            affine = np.diag([-1.0, -1.0, 1.0, 1.0]) * np.append(source.header.get_zooms()[:3], 1.0)
        layout = compute_canonical_geometry(affine, shape, normal, path.name)
        header = source.header
        coded = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
        to_mm = {"meter": 1000.0, "micron": 1e-3}.get(str(header.get_xyzt_units()[0]), 1.0)
    if to_mm != 1.0:
        raise MedSegError(f"{path.name} uses {header.get_xyzt_units()[0]}s; millimetres are expected. Convert it.")
    refuse_unusable(pixels, path.name)
    return _make_image(path, pixels, layout, normal, header_bytes=clear_header_texts(_dump_header(header)), coded=coded)


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
        written = _build_with_source_header(pixels, storage, _parse_header(storage.nifti_header))
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


def clear_header_texts(content: bytes) -> bytes:
    """Return the bytes of a header, or none, without names and remarks: they may name the patient."""
    if not content:
        return content
    header = _parse_header(content)
    _clear_texts(header)
    return _dump_header(header)


def came_from_nifti(image: Image) -> bool:
    """Whether an image was read from a NIfTI file, whose first axis is x, not the page."""
    if image.storage is None or image.storage.affine is None:
        return False
    return bool(image.storage.nifti_header) or (bool(image.sources) and get_suffix(image.sources[0]) in NIFTI_SUFFIXES)


def _make_image(
    path: Path, pixels: NDArray[Any], layout: CanonicalGeometry, normal: int | None, *, header_bytes: bytes, coded: bool
) -> Image:
    storage = StorageLayout(layout.storage.permutation, layout.storage.flips, layout.storage.affine, header_bytes)
    colour = pixels.ndim == 4
    if normal is not None:
        pixels = pixels.squeeze(axis=normal)
    pixels = reorient_own_pixels(pixels, storage)
    is_hu = looks_like_hu(pixels)
    return Image(
        pixels=pixels,
        axes=("ZYX" if normal is None else "YX") + ("C" if colour else ""),
        spacing_mm=layout.spacing_mm,
        affine=layout.affine,
        modality="CT" if is_hu else "",
        units="rgb" if colour else "HU" if is_hu else "grey",
        name=path.name[: len(path.name) - len(get_suffix(path))],
        sources=(path,),
        storage=storage,
        notes=() if coded else (_NO_ORIENTATION,),
    )


def _find_spatial_shape(shape: tuple[int, ...], name: str) -> tuple[tuple[int, int, int], int | None]:
    """Return three spatial lengths and the axis of length 1 (`None` for a volume)."""
    if 0 in shape:
        raise MedSegError(f"{name} has no pixels (its size is {shape}). Export it again.")
    if any(length > 1 for length in shape[3:]):
        raise MedSegError(
            f"{name} has {len(shape)} dimensions {shape}; a volume (x, y, z) is expected. "
            "Save one time point or channel as a separate file."
        )
    x, y, z = (*shape, 1, 1, 1)[:3]
    thin = [axis for axis, length in enumerate((x, y, z)) if length == 1]
    return (x, y, z), thin[-1] if thin else None


def _find_kind(stream: BoundedStream) -> type[nib.Nifti1Image]:
    """Return the version of NIfTI by the length of the header, with which the file starts; then go back there."""
    start = stream.read(4)
    stream.seek(0)
    is_second = _NIFTI2_BYTES in (int.from_bytes(start, "little"), int.from_bytes(start, "big"))
    kind: type[nib.Nifti1Image] = nib.Nifti2Image if is_second else nib.Nifti1Image
    return kind


def _open(path: Path, expected_bytes: int | None) -> BoundedStream:
    room = None if expected_bytes is None else expected_bytes + _MAX_HEADER_BYTES
    if is_half_of_pair(path):
        return PairStream(path, room)
    return BoundedStream(path, is_gzip=is_gzip(path), expected_bytes=room)


def _refuse_by_size(n_bytes: int, path: Path, expected_bytes: int | None) -> None:
    """Refuse a file before memory is allocated: one that would take too much, or that cannot hold so much."""
    is_pair = is_half_of_pair(path)
    disk_bytes = find_pair(path)[1].stat().st_size + START_BYTES if is_pair else path.stat().st_size
    room = None if expected_bytes is None else expected_bytes + _MAX_HEADER_BYTES
    refuse_above_limit(n_bytes, disk_bytes, path.name, expected_bytes=room)
    if n_bytes > disk_bytes * (DEFLATE_MAX_RATIO if is_gzip(path) else 1):
        raise MedSegError(
            f"{path.name} is truncated: its header announces {format_bytes(n_bytes)}, but it has only "
            f"{format_bytes(disk_bytes)} on disk. Copy or export it again."
        )


def _compute_bytes(source: nib.Nifti1Image) -> int:
    """Bytes that the file takes in memory, by its header: what lies before the voxels, and the voxels in their type."""
    return int(source.dataobj.offset) + math.prod(map(int, source.shape)) * int(source.dataobj.dtype.itemsize)


def _read_values(source: nib.Nifti1Image) -> tuple[NDArray[Any], bool]:
    raw = source.dataobj.get_unscaled()
    if raw.dtype in (_RGB, _RGBA):
        return np.stack([raw[channel] for channel in "RGB"], axis=-1), True
    if raw.dtype.kind not in "buif":
        raise ValueError(f"values of type {raw.dtype} are not supported")
    raw = convert_to_native(raw)
    slope, inter = np.asanyarray(source.dataobj.slope), np.asanyarray(source.dataobj.inter)
    if (slope, inter) != (1, 0):
        return cast_compact(raw, lambda slab: apply_read_scaling(slab, slope, inter)), False
    return (cast_native(raw) if raw.dtype.kind != "f" else cast_compact(raw)), False


def _dump_header(header: nib.Nifti1Header) -> bytes:
    buffer = BytesIO()
    header.write_to(buffer)
    return buffer.getvalue()[: int(header["sizeof_hdr"])]


def _clear_texts(header: nib.Nifti1Header) -> None:
    for remark in set(_REMARKS) & set(header.keys()):  # NIfTI-2 has fewer
        header[remark] = _FILE_ORDER if header[remark] == _FILE_ORDER else b""


def _parse_header(content: bytes) -> nib.Nifti1Header:
    kind = nib.Nifti1Header if len(content) == _NIFTI1_BYTES else nib.Nifti2Header
    return kind.from_fileobj(BytesIO(content))


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
    _clear_texts(fresh)
    kind = nib.Nifti1Image if int(header["sizeof_hdr"]) == _NIFTI1_BYTES else nib.Nifti2Image
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
        written.header["descrip"] = _FILE_ORDER
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
