"""NRRD (.nrrd, .nhdr), the format of 3D Slicer: https://teem.sourceforge.net/nrrd/format.html."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.grid_metadata import GRID_KEY, make_grid_json
from napari_medseg.core.image import Image
from napari_medseg.core.volumes.lps_grid import LpsGrid, lay_in_file_order
from napari_medseg.core.volumes.metaimage import find_data_file, skip_header
from napari_medseg.core.volumes.packed_values import ZLIB_OR_GZIP, read_values
from napari_medseg.core.volumes.stored_volume import MAX_HEADER_BYTES, StoredVolume, make_image, make_stored_volume

_MAGIC = b"NRRD000"
_TYPES = {
    "i1": ("int8", "signed char", "int8_t"),
    "u1": ("uint8", "unsigned char", "uchar", "uint8_t"),
    "i2": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "u2": ("uint16", "unsigned short", "ushort", "unsigned short int", "uint16_t"),
    "i4": ("int32", "int", "signed int", "int32_t"),
    "u4": ("uint32", "unsigned int", "uint", "uint32_t"),
    "i8": ("int64", "long long", "long long int", "longlong", "signed long long", "signed long long int", "int64_t"),
    "u8": ("uint64", "unsigned long long", "unsigned long long int", "ulonglong", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {"raw": "raw", "gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_COLOURS = ("rgb-color", "3-color", "rgba-color", "4-color", "vector", "list", "point", "3-vector", "covariant-vector")
_LEVEL = 1


@dataclass(frozen=True, eq=False)
class LayeredVolume:
    """A file whose first axis is a list of layers, as of overlapping segments: (layers, z, y, x)."""

    layers: tuple[NDArray[Any], ...]
    grid: LpsGrid | None
    fields: dict[str, str]


def read_nrrd(path: Path) -> Image:
    """Read a volume or a plane.

    Raises
    ------
    MedSegError
        If it is damaged, would take too much memory, has more than three dimensions, or names a data file elsewhere.
    """
    return make_image(path, read_nrrd_values(path))


def read_nrrd_values(path: Path, expected_bytes: int | None = None) -> StoredVolume:
    """Read the voxels in file order with all fields of the header; errors as of `read_nrrd`."""
    stored = read_nrrd_layers(path, expected_bytes)
    n_layers = len(stored.layers)
    if n_layers not in (1, 3, 4) or (n_layers > 1 and stored.layers[0].dtype != np.uint8):
        raise MedSegError(
            f"{path.name} has {n_layers} values for each voxel; 1 or 3 (RGB) are expected. "
            "Save one time point or channel as a separate file."
        )
    values = stored.layers[0] if n_layers == 1 else np.stack(stored.layers[:3], axis=-1)
    return make_stored_volume(values, stored.grid, stored.fields)


def read_nrrd_layers(path: Path, expected_bytes: int | None = None) -> LayeredVolume:
    """Read a file that may have several layers: segments that overlap, or colours; errors as of `read_nrrd`."""
    with translate_decode_errors(path, "NRRD"), SizedFile(path) as file:
        fields = read_fields(file)
        sizes = [int(word) for word in fields["sizes"].split()]
        list_axis, spatial = _find_axes(fields, sizes, path.name)
        code = _CODE_OF.get(fields["type"].lower())
        encoding = _ENCODINGS.get(fields["encoding"].lower())
        if code is None or encoding is None:
            raise ValueError(f"type {fields['type']} with encoding {fields['encoding']} is not supported")
        dtype = np.dtype(code).newbyteorder(">" if fields.get("endian", "little").lower() == "big" else "<")
        shape = tuple(sizes[::-1])
        name = fields.get("data file", fields.get("datafile"))
        if name is None:
            values = read_values(file, path.name, dtype, shape, encoding, expected_bytes)
        else:
            with SizedFile(find_data_file(path, name)) as data:
                skip_header(data, int(fields.get("byte skip", fields.get("byteskip", "0"))), dtype, shape)
                values = read_values(data, path.name, dtype, shape, encoding, expected_bytes)
        grid = _read_grid(fields, spatial, len(sizes))
        layered = values[np.newaxis] if list_axis is None else np.moveaxis(values, len(sizes) - 1 - list_axis, 0)
        missing = 4 - layered.ndim
        layers = tuple(layer.reshape((1,) * missing + layer.shape) for layer in layered)
        return LayeredVolume(layers, grid, fields)


def read_fields(file: SizedFile) -> dict[str, str]:
    """Read a header up to its empty line: fields with names in lower case, and keys with their values as they are.

    Raises
    ------
    ValueError
        If it is no header of an NRRD file.
    """
    if not file.readline(16).startswith(_MAGIC):
        raise ValueError("it does not start as NRRD")
    fields: dict[str, str] = {}
    while line := file.readline(MAX_HEADER_BYTES).rstrip(b"\r\n"):
        if file.tell() > MAX_HEADER_BYTES:
            raise ValueError("its header does not end")
        text = line.decode("utf-8", "replace")
        if text.startswith("#"):
            continue
        key, marker, value = text.partition(":=")
        if marker and ": " not in key:
            fields[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
        else:
            key, _, value = text.partition(":")
            fields[key.strip().lower()] = value.strip()
    return fields


def write_nrrd(path: Path, pixels: NDArray[Any], image: Image, keys: Mapping[str, str] | None = None) -> None:
    """Write canonical pixels in one file, compressed with gzip, with the grid of their image.

    Parameters
    ----------
    path
        Ends in ``.nrrd``.
    pixels
        As `image.pixels`, integers or floats of 8 to 64 bits; colours of 8 bits.
    image
        Gives the grid.
    keys
        Further keys of the header with their values.

    Raises
    ------
    MedSegError
        If the type cannot be stored, or the folder cannot be written to.
    """
    lying = lay_in_file_order(pixels, image)
    values = np.ascontiguousarray(lying.values)
    names = _TYPES.get(values.dtype.newbyteorder("=").str[1:])
    if names is None:
        raise MedSegError(f"{path.name}: NRRD holds numbers of 8 to 64 bits, not {values.dtype}.")
    grid, has_colours = lying.grid, values.ndim == 4
    vectors = [_format_vector(grid.matrix[:3, axis]) for axis in range(3)]
    header = {
        "type": names[0],
        "dimension": str(values.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, (*([3] if has_colours else []), *values.shape[2::-1]))),
        "space directions": " ".join([*(["none"] if has_colours else []), *vectors]),
        "kinds": " ".join([*(["RGB-color"] if has_colours else []), "domain", "domain", "domain"]),
        "endian": "little",
        "encoding": "gzip",
        "space origin": _format_vector(grid.origin),
    }
    lines = ["NRRD0004", *(f"{key}: {value}" for key, value in header.items())]
    own = {GRID_KEY: make_grid_json(image, lying.storage), **(keys or {})}
    lines += [f"{key}:={_escape(value)}" for key, value in own.items()]
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, ZLIB_OR_GZIP & ~32 | 16)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join([*lines, "", ""]).encode())
        file.write(packer.compress(values.astype(values.dtype.newbyteorder("<"), copy=False).data))
        file.write(packer.flush())


def _find_axes(fields: Mapping[str, str], sizes: list[int], name: str) -> tuple[int | None, list[int]]:
    """Return the axis of colours or layers, or `None`, and the spatial axes, in the order of the file."""
    if not sizes or len(sizes) != int(fields["dimension"]) or any(size < 1 for size in sizes):
        raise MedSegError(f"{name} has no pixels (its size is {sizes}). Export it again.")
    kinds = [word.lower() for word in fields.get("kinds", "").split()]
    vectors = _split_vectors(fields.get("space directions", ""))
    listed = [axis for axis, kind in enumerate(kinds) if kind in _COLOURS]
    listed = listed or [axis for axis, vector in enumerate(vectors) if vector is None]
    spatial = [axis for axis in range(len(sizes)) if axis not in listed]
    if len(listed) > 1 or len(spatial) not in (2, 3):
        raise MedSegError(
            f"{name} has {len(sizes)} dimensions {tuple(sizes)}; a volume (x, y, z) is expected. "
            "Save one time point or channel as a separate file."
        )
    return (listed[0] if listed else None), spatial


def _read_grid(fields: Mapping[str, str], spatial: list[int], n_axes: int) -> LpsGrid | None:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", ""))))
    if units - {"mm", "millimeter", ""}:
        raise ValueError(f"it is measured in {', '.join(sorted(units))}; millimetres are expected")
    signs = _SPACES.get(fields.get("space", "").lower())
    vectors = _split_vectors(fields.get("space directions", ""))
    matrix = np.eye(4)
    if len(vectors) == n_axes and len(spatial) == 3 and all(vectors[axis] is not None for axis in spatial):
        matrix[:3, :3] = np.array([vectors[axis] for axis in spatial]).T
        origin = _split_vectors(fields.get("space origin", "(0,0,0)"))[0]
        matrix[:3, 3] = origin if origin is not None else 0.0
        if signs is None:  # a space without anatomy, such as 3D-right-handed, as ITK takes it
            return LpsGrid(matrix, has_place="space" in fields)
        return LpsGrid(np.diag([*signs, 1.0]) @ matrix, has_place=True)
    steps = [float(word) for word in fields.get("spacings", "").split()]
    if len(vectors) == n_axes and len(spatial) < 3:  # a plane, whose vectors lie in the plane
        steps = [float(np.linalg.norm(vector or [1.0])) for vector in vectors]
    if len(steps) != n_axes or not np.isfinite([steps[axis] for axis in spatial]).all():
        return None
    matrix[range(len(spatial)), range(len(spatial))] = [abs(steps[axis]) for axis in spatial]
    return LpsGrid(matrix, has_place=False)


def _split_vectors(text: str) -> list[list[float] | None]:
    found = re.findall(r"none|\(([^)]*)\)", text)
    return [[float(word) for word in one.split(",")] if one else None for one in found]


def _format_vector(numbers: NDArray[np.float64]) -> str:
    return "(" + ",".join(f"{number + 0.0:.17g}" for number in numbers.tolist()) + ")"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
