"""NRRD (.nrrd, .nhdr), the format of 3D Slicer: https://teem.sourceforge.net/nrrd/format.html."""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.containers.several_volumes import check_volume, list_titles
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.grid_metadata import GRID_KEY, make_grid_json
from napari_medseg.core.image import Image
from napari_medseg.core.volumes.lps_grid import LpsGrid, lay_in_file_order
from napari_medseg.core.volumes.metaimage import find_data_file, skip_header
from napari_medseg.core.volumes.nrrd_axes import NrrdAxes, find_axes, split_vectors
from napari_medseg.core.volumes.packed_values import WHOLE, ZLIB_OR_GZIP, Part, read_values
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
_LEVEL = 1


@dataclass(frozen=True, eq=False)
class LayeredVolume:
    """A file whose first axis is a list of layers, as of overlapping segments: (layers, z, y, x)."""

    layers: tuple[NDArray[Any], ...]
    grid: LpsGrid | None
    fields: dict[str, str]


def read_nrrd(path: Path, volume: int | None = None) -> Image:
    """Read a volume or a plane; of a file of several volumes, one of them, counted from 1 on.

    Raises
    ------
    SeveralImagesError
        If it holds several volumes and none is chosen.
    MedSegError
        If it is damaged, would take too much memory, has no such volume, or names a data file elsewhere.
    """
    return make_image(path, read_nrrd_values(path, volume=volume))


def list_nrrd_volumes(path: Path) -> tuple[str, ...]:
    """Return the titles of the volumes of a file, such as time points; none if it holds one image.

    Raises
    ------
    MedSegError
        If the header is damaged.
    """
    with translate_decode_errors(path, "NRRD"), SizedFile(path) as file:
        fields = read_fields(file)
        axes = find_axes(fields, _find_type(fields) == np.uint8, path.name).split_lists()
    return list_titles(axes.further_sizes, path.name)


def read_nrrd_values(path: Path, expected_bytes: int | None = None, volume: int | None = None) -> StoredVolume:
    """Read the voxels in file order with all fields of the header; errors as of `read_nrrd`."""
    stored = _read_layers(path, expected_bytes, volume, NrrdAxes.split_lists)
    values = stored.layers[0] if len(stored.layers) == 1 else np.stack(stored.layers[:3], axis=-1)
    return make_stored_volume(values, stored.grid, stored.fields)


def read_nrrd_layers(path: Path, expected_bytes: int | None = None) -> LayeredVolume:
    """Read a file that may have several layers, as of segments that overlap; errors as of `read_nrrd`."""
    return _read_layers(path, expected_bytes, None, lambda axes: axes)


def _read_layers(
    path: Path, expected_bytes: int | None, volume: int | None, choose: Callable[[NrrdAxes], NrrdAxes]
) -> LayeredVolume:
    with translate_decode_errors(path, "NRRD"), SizedFile(path) as file:
        fields = read_fields(file)
        dtype = _find_type(fields)
        axes = choose(find_axes(fields, dtype == np.uint8, path.name))
        number = check_volume(path, axes.sizes, axes.n_volumes, volume)
        values = _read_array(path, file, fields, dtype, axes, number, expected_bytes)
        kept = [axis for axis in range(len(axes.sizes)) if axis not in axes.further]
        place = None if axes.layers is None else len(kept) - 1 - kept.index(axes.layers)
        layered = values[np.newaxis] if place is None else np.moveaxis(values, place, 0)
        missing = 4 - layered.ndim
        layers = tuple(layer.reshape((1,) * missing + layer.shape) for layer in layered)
        return LayeredVolume(layers, _read_grid(fields, list(axes.spatial), len(axes.sizes)), fields)


def _find_type(fields: Mapping[str, str]) -> np.dtype[Any]:
    code = _CODE_OF.get(fields["type"].lower())
    if code is None:
        raise ValueError(f"type {fields['type']} is not supported")
    return np.dtype(code).newbyteorder(">" if fields.get("endian", "little").lower() == "big" else "<")


def _read_array(
    path: Path,
    file: SizedFile,
    fields: Mapping[str, str],
    dtype: np.dtype[Any],
    axes: NrrdAxes,
    number: int,
    expected_bytes: int | None,
) -> NDArray[Any]:
    """Return the values of one volume, its slowest axis first; `file` stands behind the header."""
    encoding = _ENCODINGS.get(fields["encoding"].lower())
    if encoding is None:
        raise ValueError(f"encoding {fields['encoding']} is not supported")
    part, sizes = WHOLE, axes.sizes
    if axes.lie_in_a_row:
        part, sizes = Part(number, axes.n_volumes), sizes[: len(sizes) - len(axes.further)]
    shape = tuple(sizes[::-1])
    name = fields.get("data file", fields.get("datafile"))
    if name is None:
        values = read_values(file, path.name, dtype, shape, encoding, expected_bytes, part)
    else:
        with SizedFile(find_data_file(path, name)) as data:
            n_skipped = int(fields.get("byte skip", fields.get("byteskip", "0")))
            skip_header(data, n_skipped, dtype, (part.count, *shape))
            values = read_values(data, path.name, dtype, shape, encoding, expected_bytes, part)
    if axes.lie_in_a_row:
        return values
    first = [values.ndim - 1 - axis for axis in reversed(axes.further)]
    others = [axis for axis in range(values.ndim) if axis not in first]
    lying = values.transpose(*first, *others)
    volumes: NDArray[Any] = lying.reshape(-1, *lying.shape[len(first) :])
    chosen: NDArray[Any] = volumes[number - 1].copy()
    return chosen


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


def _read_grid(fields: Mapping[str, str], spatial: list[int], n_axes: int) -> LpsGrid | None:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", ""))))
    if units - {"mm", "millimeter", ""}:
        raise ValueError(f"it is measured in {', '.join(sorted(units))}; millimetres are expected")
    space = fields.get("space", "").lower()
    signs = _SPACES.get(space.removesuffix("-time")) or _SPACES.get(space.removesuffix("t"))
    vectors = split_vectors(fields.get("space directions", ""))
    matrix = np.eye(4)
    if len(vectors) == n_axes and len(spatial) == 3 and all(vectors[axis] is not None for axis in spatial):
        matrix[:3, :3] = np.array([(vectors[axis] or [])[:3] for axis in spatial]).T
        origin = split_vectors(fields.get("space origin", "(0,0,0)"))[0]
        matrix[:3, 3] = origin[:3] if origin is not None else 0.0
        if signs is None:  # a space without anatomy, such as 3D-right-handed, or ITK's of four dimensions: as ITK's own
            return LpsGrid(matrix, has_place="space" in fields or fields.get("space dimension", "3") != "3")
        return LpsGrid(np.diag([*signs, 1.0]) @ matrix, has_place=True)
    steps = [float(word) for word in fields.get("spacings", "").split()]
    if len(vectors) == n_axes and len(spatial) < 3:  # a plane, whose vectors lie in the plane
        steps = [float(np.linalg.norm(vector or [1.0])) for vector in vectors]
    if len(steps) != n_axes or not np.isfinite([steps[axis] for axis in spatial]).all():
        return None
    matrix[range(len(spatial)), range(len(spatial))] = [abs(steps[axis]) for axis in spatial]
    return LpsGrid(matrix, has_place=False)


def _format_vector(numbers: NDArray[np.float64]) -> str:
    return "(" + ",".join(f"{number + 0.0:.17g}" for number in numbers.tolist()) + ")"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
