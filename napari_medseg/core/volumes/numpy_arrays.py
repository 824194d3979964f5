"""Arrays of NumPy (.npy, .npz): no pickle is loaded, and the header is read before the values."""

import math
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.limit import format_bytes, refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.decoded_size.slabs import convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.orientation import make_identity_storage
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, cast_native

_ZIP_ARRAY = ".npy"
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_AXES_NOTE = "An array says nothing about its axes: they were taken as {axes}, and no voxel size is known."


def read_numpy_array(path: Path) -> Image:
    """Read an array as (rows, columns) or (slices, rows, columns); a last axis of 3 bytes is RGB. A note says so.

    Raises
    ------
    MedSegError
        If it is damaged, holds objects, which only pickle could load, has other axes, would take too much memory, or a
        `.npz` holds several arrays.
    """
    with translate_decode_errors(path, "an array"), _open_array(path) as file:
        values = _read_values(file, path)
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    is_colour = values.ndim in (3, 4) and values.shape[-1] in (3, 4) and values.dtype == np.uint8
    axes = "ZYX"[3 - (values.ndim - is_colour) :] if 2 <= values.ndim - is_colour <= 3 else ""
    if not axes:
        raise MedSegError(
            f"{path.name} has {values.ndim} dimensions {values.shape}; (slices, rows, columns) are expected. "
            "Save one time point or channel as a separate array."
        )
    pixels = cast_native(values[..., :3] if is_colour else values)
    refuse_unusable(pixels, path.name)
    is_hu = not is_colour and looks_like_hu(pixels)
    said = {"YX": "rows and columns", "ZYX": "slices, rows and columns"}[axes] + (" and RGB" if is_colour else "")
    return Image(
        pixels=np.ascontiguousarray(pixels),
        axes=axes + ("C" if is_colour else ""),
        modality="CT" if is_hu else "",
        units="rgb" if is_colour else "HU" if is_hu else "grey",
        name=path.name[: -len(get_suffix(path))],
        sources=(path,),
        storage=make_identity_storage(len(axes)),
        notes=(_AXES_NOTE.format(axes=said),),
    )


@contextmanager
def _open_array(path: Path) -> Iterator[BinaryIO]:
    if get_suffix(path) != ".npz":
        with SizedFile(path) as file:
            yield file
        return
    try:
        with _open_only_member(path) as member:
            yield member
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:  # damaged, packed in an unusual way, encrypted
        raise ValueError(str(error)) from error


@contextmanager
def _open_only_member(path: Path) -> Iterator[BinaryIO]:
    with SizedFile(path) as file, zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(_ZIP_ARRAY)]
        if len(names) != 1:
            listed = ", ".join(name.removesuffix(_ZIP_ARRAY) for name in names[:6]) or "none"
            raise MedSegError(f"{path.name} holds {len(names)} arrays ({listed}); one is expected. Save it as .npy.")
        entry = archive.getinfo(names[0])
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is packed in a way that NumPy does not write")
        refuse_above_limit(entry.file_size, path.stat().st_size, path.name)  # a header alone can be a bomb
        with archive.open(entry) as member:
            yield member  # type: ignore[misc]


def _read_values(file: BinaryIO, path: Path) -> NDArray[Any]:
    read_header = _HEADER_READERS.get(npy.read_magic(file))
    if read_header is None:
        raise ValueError("its version of the format is not known")
    try:
        shape, is_fortran, dtype = read_header(file)
    except (tokenize.TokenError, SyntaxError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if dtype.hasobject or dtype.kind not in "buif":
        raise MedSegError(f"{path.name} holds values of type {dtype}; numbers are expected, and no pickle is loaded.")
    if not shape or 0 in shape or any(length < 0 for length in shape):
        raise MedSegError(f"{path.name} has no pixels (its size is {shape}). Save it again.")
    n_bytes = math.prod(shape) * dtype.itemsize
    refuse_above_limit(n_bytes, path.stat().st_size, path.name)
    content = bytearray(file.read(n_bytes))
    if len(content) != n_bytes or file.read(1):
        raise ValueError(f"its header announces {format_bytes(n_bytes)} of values, but it holds {len(content):,} bytes")
    values = convert_to_native(np.frombuffer(content, dtype))
    return values.reshape(shape, order="F" if is_fortran else "C")
