"""The file of a prediction's probabilities: a ZIP archive of Blosc-compressed chunks, written piece by piece.

The writer never holds a whole volume: a chunk is a part of one plane. ZIP checks each chunk by its CRC-32, and Blosc
compresses. No torch here, because the window reads the file.
"""

import contextlib
import math
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_medseg.core.atomic_io import make_temporary_path, replace_file

MAX_SIDE_PX = 512
"""Longest side of a chunk: a tool that looks at a few pixels decodes little."""
LARGEST = 255
"""Stored value of the probability 1."""

_HEADER = "header.json"
_MAX_HEADER_BYTES = 1 << 16
_MAX_CLASSES = 1024
MAX_CHUNK_BYTES = 2 * _MAX_CLASSES * MAX_SIDE_PX**2

Maps = Literal["classes", "objects"]


class ProbabilityHeader(BaseModel):
    """What a file of probabilities is about.

    Parameters
    ----------
    shape
        Shape of the labels, (y, x) or (z, y, x).
    n_maps
        Number of maps: one for each class, with the background first; or, for numbered objects, the probability of any
        object, and the depth inside it.
    maps
        Which of both.
    corner
        Row and column of the image where the planes begin: the corner of the region of interest.
    size
        Rows and columns of the planes. Outside of it the model sees background only.
    weights_sha256
        Weights of the model that predicted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...] = Field(min_length=2, max_length=3)
    n_maps: int = Field(ge=1, le=_MAX_CLASSES)
    maps: Maps
    corner: tuple[int, int]
    size: tuple[int, int]
    weights_sha256: str


class Chunk(NamedTuple):
    """A part of a plane: its place in the file, the plane, first row and column, and number of rows and columns."""

    number: int
    plane: int
    top: int
    left: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """Name in the archive."""
        return "-".join(str(part) for part in self)


class ProbabilityWriter:
    """Writes the file of one prediction; the planes come in any order, and a part may come again: the last one counts.

    Parameters
    ----------
    path
        The file; it appears when `finish` is called.

    Notes
    -----
    The file is a cache, so that it is not synced to the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = make_temporary_path(path)
        self._archive = zipfile.ZipFile(self._temporary, "x", zipfile.ZIP_STORED)
        self._n_chunks = 0

    def write(self, plane: int, top: int, maps: NDArray[np.uint8]) -> None:
        """Write rows of a plane, uint8 (maps, rows, x), from the row `top` on."""
        _, height, width = maps.shape
        for row in range(0, height, MAX_SIDE_PX):
            for column in range(0, width, MAX_SIDE_PX):
                part = maps[:, row : row + MAX_SIDE_PX, column : column + MAX_SIDE_PX]
                chunk = Chunk(self._n_chunks, plane, top + row, column, *part.shape[1:])
                packed = imagecodecs.blosc_encode(
                    part.tobytes(), level=5, compressor="lz4", shuffle=0, typesize=1, numthreads=1
                )
                self._archive.writestr(chunk.name, bytes(packed))
                self._n_chunks += 1

    def finish(self, header: ProbabilityHeader) -> None:
        """Complete the file and give it its name."""
        self._archive.writestr(_HEADER, header.model_dump_json())
        self._archive.close()
        replace_file(self._temporary, self._path)

    def abandon(self) -> None:
        """Remove what was written; harmless after `finish`."""
        with contextlib.suppress(OSError, ValueError):
            self._archive.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def read_header(archive: zipfile.ZipFile, shape: tuple[int, ...]) -> ProbabilityHeader:
    """Return what an archive is about; raise `ValueError` or `KeyError` if it is not of labels of this shape."""
    if archive.getinfo(_HEADER).file_size > _MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    try:
        header = ProbabilityHeader.model_validate_json(archive.read(_HEADER))
    except ValidationError as error:
        raise ValueError("its header cannot be read") from error
    sides = zip(header.corner, header.size, header.shape[-2:], strict=True)
    fits = all(first >= 0 and 0 < n <= side - first for first, n, side in sides)
    if header.shape != tuple(shape) or not fits:
        raise ValueError(f"it has the shape {header.shape}, the image {tuple(shape)}")
    return header


def list_chunks(archive: zipfile.ZipFile, header: ProbabilityHeader) -> dict[int, list[Chunk]]:
    """Return the chunks of each plane in the order in which they were written.

    Raises
    ------
    ValueError
        If a part is too large, lies outside or is missing: sizes are checked before anything is decoded.
    """
    n_planes = header.shape[0] if len(header.shape) == 3 else 1
    found: dict[int, list[Chunk]] = {}
    covered = 0
    for entry in archive.infolist():
        if entry.filename == _HEADER:
            continue
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > MAX_CHUNK_BYTES:
            raise ValueError(f"it has a part {entry.filename} of another kind")
        chunk = Chunk(*(int(part) for part in entry.filename.split("-")))
        is_inside = chunk.top + chunk.height <= header.size[0] and chunk.left + chunk.width <= header.size[1]
        is_small = 0 < chunk.height <= MAX_SIDE_PX and 0 < chunk.width <= MAX_SIDE_PX
        if not (is_inside and is_small and min(chunk) >= 0 and chunk.plane < n_planes):
            raise ValueError(f"it has a part {entry.filename} that lies outside")
        found.setdefault(chunk.plane, []).append(chunk)
        covered += chunk.height * chunk.width
    if covered < n_planes * math.prod(header.size):
        raise ValueError("parts are missing")
    return found
