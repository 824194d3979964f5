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

from napari_medseg.core.containers.array_layout import IMAGES, ArrayHeader, ArrayLayout
from napari_medseg.core.containers.zip_archive import refuse_long_list
from napari_medseg.core.decoded_size.limit import format_bytes, refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.decoded_size.slabs import convert_to_native
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.orientation import make_identity_storage
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, StorageLayout, cast_native

_ZIP_ARRAY = ".npy"
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
MAX_ARRAYS = 1000
"""Of one file that are listed."""
_SAID = {"YX": "rows and columns", "ZYX": "slices, rows and columns"}
_NO_SPACING = "No voxel size is known, so sizes are in pixels."
_AXES_NOTE = "An array says nothing about its axes: they were taken as {axes}, and no voxel size is known."


def read_numpy_array(path: Path, layout: ArrayLayout | None = None) -> Image:
    """Read an array as a person said, or as (rows, columns) or (slices, rows, columns), of which a note then tells.

    Parameters
    ----------
    path
        The file.
    layout
        What its axes mean, and which image of it is read. `None`, or one without axes: the axes are taken as (rows,
        columns) or (slices, rows, columns), and a last axis of 3 or 4 bytes as colours.

    Raises
    ------
    MedSegError
        If it is damaged, holds objects, which only pickle could load, has other axes, would take too much memory, or a
        `.npz` holds several arrays.
    """
    layout = layout or ArrayLayout()
    with translate_decode_errors(path, "an array"), _open_array(path, layout.array) as file:
        values = _read_values(file, path, layout)
    if layout.axes:
        values, axes, storage = _arrange(values, layout)
        notes: tuple[str, ...] = () if layout.spacing_mm else (_NO_SPACING,)
    else:
        values, axes = _guess_axes(values, path.name)
        storage = make_identity_storage(len(axes.replace("C", "")))
        said = _SAID[axes.replace("C", "")] + (" and RGB" if "C" in axes else "")
        notes = (_AXES_NOTE.format(axes=said),)
    is_colour = axes.endswith("C")
    pixels = cast_native(values[..., :3] if is_colour else values)
    if is_colour and pixels.dtype not in (np.uint8, np.uint16):
        raise MedSegError(f"{path.name} has colours of type {values.dtype}; 8 or 16 bits are expected. Convert it.")
    refuse_unusable(pixels, path.name)
    is_hu = not is_colour and looks_like_hu(pixels)
    return Image(
        pixels=np.ascontiguousarray(pixels),
        axes=axes,
        spacing_mm=layout.spacing_mm,
        modality="CT" if is_hu else "",
        units="rgb" if is_colour else "HU" if is_hu else "grey",
        name=path.name[: -len(get_suffix(path))] + (f" image {layout.image}" if layout.image else ""),
        sources=(path,),
        storage=storage,
        notes=notes,
    )


def read_array_headers(path: Path) -> list[ArrayHeader]:
    """Return what the arrays of a file say, without their values.

    Raises
    ------
    MedSegError
        If the file is damaged.
    """
    with translate_decode_errors(path, "an array"):
        names = _list_arrays(path) if get_suffix(path) == ".npz" else [""]
        headers = []
        for number, name in enumerate(names[:MAX_ARRAYS], start=1):
            with _open_array(path, number if len(names) > 1 else 0) as file:
                shape, _, dtype = _read_header(file, path)
            headers.append(ArrayHeader(name if len(names) > 1 else "", shape, str(dtype)))
        return headers


def _guess_axes(values: NDArray[Any], name: str) -> tuple[NDArray[Any], str]:
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    is_colour = values.ndim in (3, 4) and values.shape[-1] in (3, 4) and values.dtype == np.uint8
    axes = "ZYX"[3 - (values.ndim - is_colour) :] if 2 <= values.ndim - is_colour <= 3 else ""
    if not axes:
        raise MedSegError(
            f"{name} has {len(shape)} dimensions {shape}; (slices, rows, columns) are expected. "
            "Say what they are: --axes NZYX on the command line, or in the window when you drop it."
        )
    return values, axes + ("C" if is_colour else "")


def _check_layout(layout: ArrayLayout, shape: tuple[int, ...], name: str) -> None:
    if not layout.axes:
        return
    if problem := layout.find_problem(shape):
        raise MedSegError(f"{name}: {problem}. Say again what its axes are.")
    n_images = layout.count_images(shape)
    if not 1 <= (layout.image or (1 if n_images == 1 else 0)) <= n_images:
        raise MedSegError(f"{name} has {n_images} images, and no image {layout.image}. Choose one of them.")


def _arrange(values: NDArray[Any], layout: ArrayLayout) -> tuple[NDArray[Any], str, StorageLayout]:
    """Return the values of one image in the order Z, Y, X, C, with its axes and the order in the file."""
    if IMAGES in layout.axes:
        axis = layout.axes.index(IMAGES)
        values = np.take(values, min((layout.image or 1), values.shape[axis]) - 1, axis=axis)
    inside = layout.axes.replace(IMAGES, "")
    axes = "".join(letter for letter in "ZYXC" if letter in inside)
    spatial = inside.replace("C", "")
    permutation = tuple(spatial.index(letter) for letter in axes.replace("C", ""))
    storage = StorageLayout(permutation, (False,) * len(permutation))
    return np.transpose(values, [inside.index(letter) for letter in axes]), axes, storage


@contextmanager
def _open_array(path: Path, number: int) -> Iterator[BinaryIO]:
    if get_suffix(path) != ".npz":
        if number:
            raise ValueError("it is one array, and has no numbers")
        with SizedFile(path) as file:
            yield file
        return
    try:
        with _open_member(path, number) as member:
            yield member
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:  # damaged, packed in an unusual way, encrypted
        raise ValueError(str(error)) from error


def _list_arrays(path: Path) -> list[str]:
    try:
        with SizedFile(path) as file:
            refuse_long_list(file, path.name)
            with zipfile.ZipFile(file) as archive:
                return [name.removesuffix(_ZIP_ARRAY) for name in archive.namelist() if name.endswith(_ZIP_ARRAY)]
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


@contextmanager
def _open_member(path: Path, number: int) -> Iterator[BinaryIO]:
    """Open an array of a `.npz` by its number; 0 opens the only one."""
    with SizedFile(path) as file:
        refuse_long_list(file, path.name)
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(_ZIP_ARRAY)]
            if (not number and len(names) != 1) or number > len(names):
                listed = ", ".join(name.removesuffix(_ZIP_ARRAY) for name in names[:6]) or "none"
                raise MedSegError(
                    f"{path.name} holds {len(names)} arrays ({listed}); one is expected. Choose one in the window or "
                    "by --series, or save it as .npy."
                )
            with _open_entry(path, archive, names[max(0, number - 1)]) as member:
                yield member


@contextmanager
def _open_entry(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed in a way that NumPy does not write")
    refuse_above_limit(entry.file_size, path.stat().st_size, path.name)  # a header alone can be a bomb
    with archive.open(entry) as member:
        yield member  # type: ignore[misc]


def _read_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
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
    return shape, is_fortran, dtype


def _read_values(file: BinaryIO, path: Path, layout: ArrayLayout) -> NDArray[Any]:
    """Read the values of an array, or of its one image if it holds images one behind the other."""
    shape, is_fortran, dtype = _read_header(file, path)
    _check_layout(layout, shape, path.name)
    is_last = True
    if layout.axes.startswith(IMAGES) and not is_fortran:
        n_images, shape, number = shape[0], (1, *shape[1:]), layout.image or 1
        file.seek(file.tell() + (number - 1) * math.prod(shape) * dtype.itemsize)
        is_last = number == n_images
    n_bytes = math.prod(shape) * dtype.itemsize
    refuse_above_limit(n_bytes, path.stat().st_size, path.name)
    content = bytearray(file.read(n_bytes))
    if len(content) != n_bytes or (is_last and file.read(1)):
        raise ValueError(f"its header announces {format_bytes(n_bytes)} of values, but it holds {len(content):,} bytes")
    values = convert_to_native(np.frombuffer(content, dtype))
    return values.reshape(shape, order="F" if is_fortran else "C")
