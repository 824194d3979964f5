"""Read NIfTI of any storage order: a plane, a volume, or one volume of a file that holds several."""

import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from napari_medseg.core.containers.several_volumes import check_volume, list_titles
from napari_medseg.core.decoded_size.bounded_stream import BoundedStream
from napari_medseg.core.decoded_size.limit import DEFLATE_MAX_RATIO, format_bytes, refuse_above_limit
from napari_medseg.core.decoded_size.pair_stream import START_BYTES, PairStream, find_pair
from napari_medseg.core.decoded_size.slabs import convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.content import is_gzip, is_half_of_pair
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.orientation import CanonicalGeometry, compute_canonical_geometry, reorient_own_pixels
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, StorageLayout, cast_compact, cast_native
from napari_medseg.core.nifti.header import FILE_ORDER, NIFTI2_BYTES, clear_header_texts, dump_header

_NO_ORIENTATION = "The file has no orientation (qform and sform code 0); right and left follow nibabel's default."
_MAX_HEADER_BYTES = 2**20
"""Room for the extensions of a header, beside the voxels of an expected size."""
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])


def read_nifti(path: Path, expected_bytes: int | None = None, volume: int | None = None) -> Image:
    """Read a volume or a plane.

    Parameters
    ----------
    path
        The file, or one file of a pair.
    expected_bytes
        What it takes at most, if that is known (see `compute_limit`).
    volume
        Number of the volume of a file of more than three dimensions, from 1 on, as `list_volumes` counts them.

    Raises
    ------
    SeveralImagesError
        If it holds several volumes and none is chosen.
    MedSegError
        If it is damaged (the checksum of a `.nii.gz` fails), would take too much memory, has no such volume, or holds
        NaN.
    """
    with translate_decode_errors(path, "NIfTI"), _open(path, expected_bytes) as stream:
        source = _find_kind(stream).from_stream(stream)
        number = check_volume(path, source.shape, _count_volumes(source.shape), volume)
        shape, normal = _find_spatial_shape(source.shape, path.name)
        _refuse_by_size(_compute_bytes(source, shape), path, expected_bytes)
        values, colour = _read_values(source, _read_raw(source, stream, shape, number))
        stream.read_to_end()  # to where gzip keeps checksum and length; nibabel stops before them
        pixels = values.reshape((*shape, 3) if colour else shape)
        affine = np.array(source.affine, dtype=np.float64)
        header = source.header
        if bytes(header["descrip"]).rstrip(b"\0") == FILE_ORDER:
            affine = np.diag([-1.0, -1.0, 1.0, 1.0]) * np.append(header.get_zooms()[:3], 1.0)
        layout = compute_canonical_geometry(affine, shape, normal, path.name)
        coded = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
        to_mm = {"meter": 1000.0, "micron": 1e-3}.get(str(header.get_xyzt_units()[0]), 1.0)
        if volume is not None:
            header.set_data_shape(shape)  # labels of one volume have three dimensions
    if to_mm != 1.0:
        raise MedSegError(f"{path.name} uses {header.get_xyzt_units()[0]}s; millimetres are expected. Convert it.")
    refuse_unusable(pixels, path.name)
    return _make_image(path, pixels, layout, normal, header_bytes=clear_header_texts(dump_header(header)), coded=coded)


def list_volumes(path: Path) -> tuple[str, ...]:
    """Return the titles of the volumes of a file of more than three dimensions; none if it holds one image.

    Raises
    ------
    MedSegError
        If the header is damaged.
    """
    with translate_decode_errors(path, "NIfTI"), _open(path, None) as stream:
        shape = _find_kind(stream).from_stream(stream).shape
    return list_titles(shape[3:], path.name)


def _count_volumes(shape: tuple[int, ...]) -> int:
    return math.prod(map(int, shape[3:]))


def _read_raw(source: nib.Nifti1Image, stream: BoundedStream, shape: tuple[int, int, int], volume: int) -> NDArray[Any]:
    """Return the stored values of one volume; of the others of the file nothing stays in memory."""
    dtype = source.dataobj.dtype
    n_bytes = math.prod(shape) * dtype.itemsize
    if volume == 1 and _count_volumes(source.shape) == 1:
        raw: NDArray[Any] = source.dataobj.get_unscaled()
        return raw
    stream.seek(int(source.dataobj.offset) + (volume - 1) * n_bytes)
    values = np.empty(shape, dtype, order="F")
    if stream.readinto(values.reshape(-1, order="F").view(np.uint8).data) != n_bytes:
        raise ValueError(f"it ends before volume {volume}")
    return values


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
    x, y, z = (*shape, 1, 1, 1)[:3]
    thin = [axis for axis, length in enumerate((x, y, z)) if length == 1]
    return (x, y, z), thin[-1] if thin else None


def _find_kind(stream: BoundedStream) -> type[nib.Nifti1Image]:
    """Return the version of NIfTI by the length of the header, with which the file starts; then go back there."""
    start = stream.read(4)
    stream.seek(0)
    is_second = NIFTI2_BYTES in (int.from_bytes(start, "little"), int.from_bytes(start, "big"))
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


def _compute_bytes(source: nib.Nifti1Image, shape: tuple[int, int, int]) -> int:
    """Bytes that the file takes in memory, by its header: what lies before the voxels, and the voxels in their type."""
    return int(source.dataobj.offset) + math.prod(shape) * int(source.dataobj.dtype.itemsize)


def _read_values(source: nib.Nifti1Image, raw: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    if raw.dtype in (_RGB, _RGBA):
        return np.stack([raw[channel] for channel in "RGB"], axis=-1), True
    if raw.dtype.kind not in "buif":
        raise ValueError(f"values of type {raw.dtype} are not supported")
    raw = convert_to_native(raw)
    slope, inter = np.asanyarray(source.dataobj.slope), np.asanyarray(source.dataobj.inter)
    if (slope, inter) != (1, 0):
        return cast_compact(raw, lambda slab: apply_read_scaling(slab, slope, inter)), False
    return (cast_native(raw) if raw.dtype.kind != "f" else cast_compact(raw)), False
