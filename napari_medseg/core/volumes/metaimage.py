"""MetaImage (.mha, .mhd), the format of ITK: https://itk.org/Wiki/ITK/MetaIO/Documentation."""

import math
import zlib
from collections.abc import Mapping
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
from napari_medseg.core.volumes.packed_values import Part, read_values
from napari_medseg.core.volumes.stored_volume import StoredVolume, make_image, make_stored_volume

_MAX_HEADER_BYTES = 1 << 20
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NAMES = {
    name: key for key, name in _TYPES.items() if key not in ("MET_LONG", "MET_ULONG")
}  # a long has 8 bytes on many systems
_LEVEL = 1
_LOCAL = "LOCAL"


def read_metaimage(path: Path, volume: int | None = None) -> Image:
    """Read a volume or a plane; of a file of more than three dimensions, one of its volumes, counted from 1 on.

    Raises
    ------
    SeveralImagesError
        If it holds several volumes and none is chosen.
    MedSegError
        If it is damaged, would take too much memory, has no such volume, or names a data file elsewhere.
    """
    return make_image(path, read_metaimage_values(path, volume=volume))


def list_metaimage_volumes(path: Path) -> tuple[str, ...]:
    """Return the titles of the volumes of a file of more than three dimensions; none if it holds one image.

    Raises
    ------
    MedSegError
        If the header is damaged.
    """
    with translate_decode_errors(path, "MetaImage"), SizedFile(path) as file:
        return list_titles([int(word) for word in _read_fields(file)["DimSize"].split()][3:], path.name)


def read_metaimage_values(path: Path, expected_bytes: int | None = None, volume: int | None = None) -> StoredVolume:
    """Read the voxels in file order with all fields of the header; errors as of `read_metaimage`."""
    with translate_decode_errors(path, "MetaImage"), SizedFile(path) as file:
        fields = _read_fields(file)
        sizes = [int(word) for word in fields["DimSize"].split()]
        n_channels = int(fields.get("ElementNumberOfChannels", "1"))
        _refuse_shape(sizes, n_channels, path.name)
        dtype = _find_type(fields)
        n_volumes = math.prod(sizes[3:])
        part = Part(check_volume(path, sizes, n_volumes, volume), n_volumes)
        shape = (*[*sizes, 1, 1, 1][:3][::-1], *([n_channels] if n_channels > 1 else []))
        is_packed = fields.get("CompressedData", "False").lower() == "true"
        encoding, data_file = "zlib" if is_packed else "raw", fields["ElementDataFile"]
        if data_file == _LOCAL:
            values = read_values(file, path.name, dtype, shape, encoding, expected_bytes, part)
        else:
            with SizedFile(find_data_file(path, data_file)) as data:
                skip_header(data, int(fields.get("HeaderSize", "0")), dtype, (n_volumes, *shape))
                values = read_values(data, path.name, dtype, shape, encoding, expected_bytes, part)
        return make_stored_volume(values, _read_grid(fields, len(sizes)), fields)


def write_metaimage(path: Path, pixels: NDArray[Any], image: Image, fields: Mapping[str, str] | None = None) -> None:
    """Write canonical pixels in one file, compressed, with the grid of their image.

    Parameters
    ----------
    path
        Ends in ``.mha``.
    pixels
        As `image.pixels`, any integers or floats of 8 to 64 bits; colours of 8 bits.
    image
        Gives the grid.
    fields
        Further fields of the header; ITK keeps them as metadata of the image.

    Raises
    ------
    MedSegError
        If the type cannot be stored, or the folder cannot be written to.
    """
    lying = lay_in_file_order(pixels, image)
    values = np.ascontiguousarray(lying.values)
    kind = _NAMES.get(values.dtype.newbyteorder("=").str[1:])
    if kind is None:
        raise MedSegError(f"{path.name}: MetaImage holds numbers of 8 to 64 bits, not {values.dtype}.")
    packed = zlib.compress(values.astype(values.dtype.newbyteorder("<"), copy=False).data, _LEVEL)
    grid = lying.grid
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(packed)),
        "TransformMatrix": _format(grid.directions.T.ravel()),
        "Offset": _format(grid.origin),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _format(grid.spacing),
        "DimSize": " ".join(map(str, values.shape[2::-1])),
        **({"ElementNumberOfChannels": "3"} if values.ndim == 4 else {}),
        "ElementType": kind,
        GRID_KEY: make_grid_json(image, lying.storage),
        **{key: " ".join(value.split()) for key, value in (fields or {}).items()},
        "ElementDataFile": _LOCAL,
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(text.encode())
        file.write(packed)


def find_data_file(header: Path, name: str) -> Path:
    """Return the file of the voxels beside a header.

    Raises
    ------
    MedSegError
        If it lies in another folder, or there are several.
    """
    name = name.strip().removeprefix("./")
    has_several = len(name.split()) > 1 and not (header.parent / name).exists()
    if name.upper().startswith("LIST") or "%" in name or has_several:
        raise MedSegError(f"{header.name} has its voxels in several files. Save it as one file, such as .mha or .nrrd.")
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise MedSegError(
            f"{header.name} names the file of its voxels {name!r} in another folder. Move it beside {header.name}."
        )
    return header.with_name(name)


def skip_header(file: SizedFile, n_bytes: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Go to the voxels: behind so many bytes, or for -1 so far before the end as they are long."""
    if n_bytes >= 0:
        file.seek(n_bytes)
        return
    end = file.seek(0, 2)
    file.seek(max(0, end - int(np.prod(shape, dtype=object)) * dtype.itemsize))


def _read_fields(file: SizedFile) -> dict[str, str]:
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        line = file.readline(_MAX_HEADER_BYTES)
        if not line.endswith(b"\n") or file.tell() > _MAX_HEADER_BYTES:
            raise ValueError("it has no ElementDataFile, so it is no whole header")
        key, equals, value = line.decode("utf-8", "replace").partition("=")
        if equals:
            fields[key.strip()] = value.strip()
    return fields


def _find_type(fields: Mapping[str, str]) -> np.dtype[Any]:
    name = fields["ElementType"].replace("_ARRAY", "")
    if name not in _TYPES:
        raise ValueError(f"the type {name} is not known")
    is_big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    return np.dtype(_TYPES[name]).newbyteorder(">" if is_big else "<")


def _refuse_shape(sizes: list[int], n_channels: int, name: str) -> None:
    if not sizes or any(size < 1 for size in sizes):
        raise MedSegError(f"{name} has no pixels (its size is {sizes}). Export it again.")
    if n_channels not in (1, 3):
        raise MedSegError(
            f"{name} has {n_channels} values for each voxel; 1 or 3 (RGB) are expected. Save one of them."
        )


def _read_grid(fields: Mapping[str, str], n_dims: int) -> LpsGrid | None:
    text = fields.get("ElementSpacing") or fields.get("ElementSize")
    spacing = [abs(float(word)) for word in text.split()] if text else None
    if spacing is None and n_dims < 3:
        return None
    matrix = np.eye(4)
    if n_dims < 3:
        matrix[:2, :2] = np.diag((spacing or [1.0, 1.0])[:2])
        return LpsGrid(matrix, has_place=False)
    directions = fields.get("TransformMatrix", fields.get("Rotation", fields.get("Orientation", "")))
    origin = fields.get("Offset", fields.get("Position", fields.get("Origin", "")))
    numbers = np.array([float(word) for word in directions.split()] or np.eye(n_dims).ravel())
    matrix[:3, :3] = numbers.reshape(n_dims, n_dims)[:3, :3].T * np.array((spacing or [1.0] * 3)[:3])
    matrix[:3, 3] = [float(word) for word in origin.split()][:3] or [0.0] * 3
    return LpsGrid(matrix, has_place=bool(directions or origin))


def _format(numbers: NDArray[np.float64]) -> str:
    return " ".join(f"{number + 0.0:.17g}" for number in numbers.tolist())
