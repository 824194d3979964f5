"""OME-Zarr 0.4 and 0.5 (next-generation file format of OME), in a folder or on a network, read chunk by chunk.

Moore et al., Histochem Cell Biol 2023; https://ngff.openmicroscopy.org. Zarr is an extra:
``pip install "napari-medseg[slides]"``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import DECODE_ERRORS
from napari_medseg.core.slides.slide import DamagedPartError, find_overlap, make_levels, make_white
from napari_medseg.core.tiff.spacing import get_unit_mm

if TYPE_CHECKING:
    import zarr

INSTALL = 'pip install "napari-medseg[slides]"'
MAX_CHUNK_VALUES = 256 * 2**20
_FIRST_IMAGE = "0"
"""bioformats2raw puts images into groups with numbers; the first one is the slide."""


class ZarrSlide:
    """A `Slide` in an OME-Zarr store.

    Raises
    ------
    MedSegError
        If zarr is not installed, the store cannot be reached or is damaged, or it is no RGB or grey picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        group = _open_group(path)
        image = _find_image(group, self.name)
        self._axes = _find_axes(image.multiscales, self.name)
        self._arrays = [_open_array(image.group, entry, self.name) for entry in image.multiscales["datasets"]]
        for array in self._arrays:
            _refuse_unusable(array, self._axes, self.name)
        rows, columns = self._axes.index("y"), self._axes.index("x")
        sizes = [(int(array.shape[rows]), int(array.shape[columns])) for array in self._arrays]
        scales = [_read_scale(image.multiscales, entry, self._axes) for entry in image.multiscales["datasets"]]
        stated = [scale[1] / scales[0][1] for scale in scales]
        self.levels = make_levels(
            sizes, stated if stated == sorted(stated) and len(set(stated)) == len(stated) else None
        )
        self.spacing_mm = _convert_scale(image.multiscales, scales[0])

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a part of a level, see `Slide.read`."""
        of_level, piece = self.levels[level], make_white(height, width)
        seen = find_overlap((y, x, height, width), (0, 0, of_level.height, of_level.width))
        if seen is not None:
            rows, columns = seen.of_part
            try:
                values = self._read(level, rows, columns)
            except Exception as error:  # stores of a network have exceptions of their own
                raise self._find_damage(level, rows, columns, error) from error
            piece[seen.of_piece] = values
        return piece

    def close(self) -> None:
        """Forget the arrays; a store has no file that stays open."""
        self._arrays = []

    def _read(self, level: int, rows: slice, columns: slice) -> NDArray[np.uint8]:
        where = {"y": rows, "x": columns, "c": slice(None)}
        index = tuple(where.get(axis, 0) for axis in self._axes)
        values = np.asarray(self._arrays[level][index])
        kept = [axis for axis in self._axes if axis in where]
        values = np.transpose(values, [kept.index(axis) for axis in ("y", "x", "c") if axis in kept])
        if values.ndim == 2:
            values = values[..., np.newaxis]
        if values.dtype.itemsize == 2:
            values = values >> 8
        return np.broadcast_to(values[..., :3], (*values.shape[:2], 3)).astype(np.uint8, copy=False)

    def _find_damage(self, level: int, rows: slice, columns: slice, error: BaseException) -> DamagedPartError:
        """Return an error with the place of the first chunk that cannot be read."""
        chunks = self._arrays[level].chunks
        high, wide = chunks[self._axes.index("y")], chunks[self._axes.index("x")]
        of_level = self.levels[level]
        for top in range(rows.start // high * high, rows.stop, high):
            for left in range(columns.start // wide * wide, columns.stop, wide):
                bottom, right = min(top + high, of_level.height), min(left + wide, of_level.width)
                try:
                    self._read(level, slice(top, bottom), slice(left, right))
                except Exception as own:  # noqa: BLE001 - as above
                    reason = _shorten(own)
                    return DamagedPartError(self.name, level, top, left, bottom - top, right - left, reason)
        place = (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
        return DamagedPartError(self.name, level, *place, _shorten(error))


class _OmeImage(NamedTuple):
    group: "zarr.Group"
    multiscales: Mapping[str, Any]


def _open_group(path: Path) -> "zarr.Group":
    """Open the store of a path or an address for reading."""
    try:
        import zarr
    except ImportError as error:
        raise MedSegError(f"{path.name} is read with zarr, which is not installed. Install it: {INSTALL}.") from error
    address = find_address(path)
    try:
        if address is None:
            return zarr.open_group(zarr.storage.LocalStore(path, read_only=True), mode="r")
        return zarr.open_group(zarr.storage.FsspecStore.from_url(address, read_only=True), mode="r")
    except ImportError as error:  # fsspec names the package of a protocol
        raise MedSegError(f"{address} needs a package that is not installed ({error}). {INSTALL}.") from error
    except (FileNotFoundError, KeyError) as error:
        raise MedSegError(f"{address or path} holds no OME-Zarr. Check the name, or whether it was moved.") from error
    except Exception as error:  # stores of a network have exceptions of their own
        raise MedSegError(
            f"{address or path.name} cannot be opened as OME-Zarr: {_shorten(error)}. Check the "
            f"{'address and the connection' if address else 'folder, or copy it again'}."
        ) from error


def _find_image(group: "zarr.Group", name: str) -> _OmeImage:
    """Return the pyramid of a store: its own, or the first image of bioformats2raw."""
    attributes = _read_attributes(group)
    if "plate" in attributes or "well" in attributes:
        raise MedSegError(f"{name} is a plate of many images, not a slide. Open one of its images.")
    if not attributes.get("multiscales") and _FIRST_IMAGE in set(group.group_keys()):
        group = group[_FIRST_IMAGE]
        attributes = _read_attributes(group)
    found = attributes.get("multiscales")
    if not isinstance(found, Sequence) or not found or not found[0].get("datasets"):
        raise MedSegError(
            f"{name} has no pyramid (multiscales) of OME-Zarr 0.4 or 0.5. Convert it, for instance with bioformats2raw."
        )
    return _OmeImage(group, found[0])


def _read_attributes(group: "zarr.Group") -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    ome = attributes.get("ome")  # since 0.5
    return ome if isinstance(ome, Mapping) else attributes


def _find_axes(multiscales: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the names of the axes; before 0.4 they were texts or left out."""
    axes = tuple(axis if isinstance(axis, str) else str(axis.get("name")) for axis in multiscales.get("axes", "tczyx"))
    if axes.count("y") != 1 or axes.count("x") != 1 or not set(axes) <= set("tczyx"):
        raise MedSegError(f"{name} has the axes {', '.join(axes)}; a slide has y and x, and c for its colours.")
    return axes


def _open_array(group: "zarr.Group", entry: Mapping[str, Any], name: str) -> "zarr.Array":
    place = str(entry.get("path", ""))
    if place.startswith(("/", "\\")) or ".." in place.replace("\\", "/").split("/") or ":" in place:
        raise MedSegError(
            f"{name} names a level outside of its folder ({place}), which is not opened. Export it again."
        )
    try:
        array = group[place]
    except DECODE_ERRORS as error:
        raise MedSegError(f"{name} is damaged: its level {place!r} cannot be read. Copy or export it again.") from error
    if not hasattr(array, "chunks"):
        raise MedSegError(f"{name} is damaged: its level {place!r} is no array. Copy or export it again.")
    return array


def _refuse_unusable(array: "zarr.Array", axes: tuple[str, ...], name: str) -> None:
    """Refuse what is no picture, before a chunk is decoded."""
    if "pickle" in json.dumps(array.metadata.to_dict(), default=str).lower():
        raise MedSegError(f"{name} holds pickled objects, which can run programs and are not read. Export it again.")
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise MedSegError(f"{name} holds values of type {array.dtype}; a slide has 8 or 16 bits for each colour.")
    if len(array.shape) != len(axes) or 0 in array.shape:
        raise MedSegError(
            f"{name} is damaged: it has {len(axes)} axes, but its size is {array.shape}. Export it again."
        )
    lengths = dict(zip(axes, array.shape, strict=True))
    if lengths.get("z", 1) > 1 or lengths.get("t", 1) > 1:
        raise MedSegError(f"{name} is a stack of planes; a slide has one plane. Save one plane as a separate store.")
    if lengths.get("c", 1) not in (1, 3, 4):
        raise MedSegError(f"{name} has {lengths['c']} channels; a slide has 1 (grey) or 3 (red, green, blue).")
    if math.prod(array.chunks) > MAX_CHUNK_VALUES:
        raise MedSegError(
            f"{name} has chunks of {array.chunks}, which cannot be read piece by piece. Use smaller chunks."
        )


def _read_scale(multiscales: Mapping[str, Any], entry: Mapping[str, Any], axes: tuple[str, ...]) -> tuple[float, float]:
    """Return the scale (y, x) of a level in the unit of its axes; 1 where it is not said."""
    scale = [1.0] * len(axes)
    for one in (*entry.get("coordinateTransformations", ()), *multiscales.get("coordinateTransformations", ())):
        values = one.get("scale")
        if one.get("type") == "scale" and isinstance(values, list) and len(values) == len(axes):
            scale = [before * float(value) for before, value in zip(scale, values, strict=True)]
    y, x = scale[axes.index("y")], scale[axes.index("x")]
    return (y, x) if y > 0 and x > 0 else (1.0, 1.0)


def _convert_scale(multiscales: Mapping[str, Any], scale: tuple[float, float]) -> tuple[float, float] | None:
    """Return the scale in mm; `None` without a unit of length."""
    units = {
        axis["name"]: str(axis.get("unit", "")) for axis in multiscales.get("axes", ()) if isinstance(axis, Mapping)
    }
    y, x = get_unit_mm(units.get("y", "")), get_unit_mm(units.get("x", ""))
    return None if y is None or x is None else (scale[0] * y, scale[1] * x)


def _shorten(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
