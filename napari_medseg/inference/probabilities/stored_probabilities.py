"""The probabilities of a prediction, read from their file where a tool looks at them, and the uncertainty from them.

No torch here, because the window reads the file.
"""

import contextlib
import io
import struct
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.inference.probabilities.probability_file import LARGEST, Chunk, Maps, list_chunks, read_header

MAX_FILE_BYTES = 2 << 30
"""As many as the whole cache may hold."""
DECODED_BYTES = 64 << 20
"""Decoded chunks that stay in memory, so that a tool under the mouse reads each once."""

_SLAB_PX = 1 << 22
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    MedSegError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)

Box = tuple[slice, ...]


class DamagedProbabilities(MedSegError):
    """A file of probabilities is damaged. It can be deleted: they are computed again."""


class StoredProbabilities:
    """The probabilities of a prediction, read from their file where a tool looks at them.

    It is indexed like an array (maps, *shape) of uint8 in 1/255: first a map, then a box of slices. For numbered
    objects only the probability of any object is indexed; `read` also gives the depth. The compressed file is in
    memory, so that it may be deleted meanwhile. It may be used in any thread.

    Parameters
    ----------
    path
        The file.
    shape
        Shape of the labels, (y, x) or (z, y, x).

    Raises
    ------
    FileNotFoundError
        If there is no file.
    DamagedProbabilities
        If it cannot be read, or has another shape.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._decoded: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._n_decoded_bytes = 0
        with self._damage_as_error():
            self._archive = zipfile.ZipFile(io.BytesIO(read_file(path, MAX_FILE_BYTES)))
            self.header = read_header(self._archive, shape)
            self._chunks_of = list_chunks(self._archive, self.header)

    @property
    def shape(self) -> tuple[int, ...]:
        """(maps, *shape of the labels)."""
        return (len(self), *self.header.shape)

    def __len__(self) -> int:
        return self.header.n_maps if self.header.maps == "classes" else 1

    def __getitem__(self, number: int) -> "ProbabilityMap":
        """Return one map, to be indexed by a box."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} maps, no number {number}")
        return ProbabilityMap(self, number)

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Return all maps in a box of slices without steps, uint8 (maps, *box).

        Raises
        ------
        DamagedProbabilities
            If a part of the file is damaged.
        """
        return self._read(box, slice(0, self.header.n_maps))

    def read_map(self, number: int, box: Box) -> NDArray[np.uint8]:
        """Return one map in a box, uint8 of the shape of the box; else as `read`."""
        one: NDArray[np.uint8] = self._read(box, slice(number, number + 1))[0]
        return one

    def check(self) -> None:
        """Raise `DamagedProbabilities` if any chunk is damaged; reads all of the file."""
        with self._damage_as_error(), self._lock:
            for chunks in self._chunks_of.values():
                for chunk in chunks:
                    self._decode(chunk)

    def _read(self, box: Box, numbers: slice) -> NDArray[np.uint8]:
        planes, rows, columns = self._get_sides(box)
        shape = (len(planes), rows.stop - rows.start, columns.stop - columns.start)
        maps = np.zeros((numbers.stop - numbers.start, *shape), np.uint8)
        if self.header.maps == "classes" and numbers.start == 0:
            maps[0] = LARGEST  # outside the region of interest
        with self._damage_as_error(), self._lock:
            for index, plane in enumerate(planes):
                for chunk in self._chunks_of.get(plane, ()):
                    self._copy_chunk(chunk, maps[:, index], (rows, columns), numbers)
        return maps.reshape(len(maps), *self._get_box_shape(box))

    def _get_sides(self, box: Box) -> tuple[range, slice, slice]:
        sides = [slice(*side.indices(n)) for side, n in zip(box, self.header.shape, strict=True)]
        planes = range(1) if len(sides) == 2 else range(sides[0].start, max(sides[0].start, sides[0].stop))
        rows, columns = (slice(side.start, max(side.start, side.stop)) for side in sides[-2:])
        return planes, rows, columns

    def _get_box_shape(self, box: Box) -> tuple[int, ...]:
        return tuple(len(range(*side.indices(n))) for side, n in zip(box, self.header.shape, strict=True))

    def _copy_chunk(self, chunk: Chunk, target: NDArray[np.uint8], wanted: tuple[slice, slice], numbers: slice) -> None:
        """Copy the part of a chunk that lies in the wanted rows and columns."""
        inside, outside = [], []
        firsts = (chunk.top + self.header.corner[0], chunk.left + self.header.corner[1])
        for side, first, length in zip(wanted, firsts, (chunk.height, chunk.width), strict=True):
            start, stop = max(side.start, first), min(side.stop, first + length)
            if start >= stop:
                return
            inside.append(slice(start - first, stop - first))
            outside.append(slice(start - side.start, stop - side.start))
        target[(slice(None), *outside)] = self._get_decoded(chunk)[(numbers, *inside)]

    def _get_decoded(self, chunk: Chunk) -> NDArray[np.uint8]:
        found = self._decoded.get(chunk.number)
        if found is None:
            found = self._decoded[chunk.number] = self._decode(chunk)
            self._n_decoded_bytes += found.nbytes
            while self._n_decoded_bytes > DECODED_BYTES and len(self._decoded) > 1:
                self._n_decoded_bytes -= self._decoded.popitem(last=False)[1].nbytes
        else:
            self._decoded.move_to_end(chunk.number)
        return found

    def _decode(self, chunk: Chunk) -> NDArray[np.uint8]:
        maps = np.empty(self.header.n_maps * chunk.height * chunk.width, np.uint8)  # not as large as the file says
        if len(imagecodecs.blosc_decode(self._archive.read(chunk.name), out=maps.data)) != maps.size:
            raise ValueError("a chunk has another size")
        return maps.reshape(self.header.n_maps, chunk.height, chunk.width)

    @contextlib.contextmanager
    def _damage_as_error(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            raise DamagedProbabilities(
                f"{self._path} with the model's probabilities is damaged ({get_reason(error)}). It holds nothing that "
                "a person made: they are computed again."
            ) from error


class ProbabilityMap:
    """One map of `StoredProbabilities`, indexed by a box of slices; uint8 of the shape of the labels."""

    dtype = np.dtype(np.uint8)

    def __init__(self, stored: StoredProbabilities, number: int) -> None:
        self._stored = stored
        self._number = number

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return self._stored.shape[1:]

    def __getitem__(self, box: Box) -> NDArray[np.uint8]:
        return self._stored.read_map(self._number, box)


def read_uncertainty(stored: StoredProbabilities) -> NDArray[np.uint8]:
    """Return the uncertainty of all voxels in per cent, of the shape of the labels; see `compute_uncertainty_percent`.

    The maps are never in memory as a whole.
    """
    percent = np.empty(stored.header.shape, np.uint8)
    rows = 1 if percent.ndim == 3 else max(1, _SLAB_PX // max(1, percent.shape[-1]))
    for start in range(0, len(percent), rows):
        box = (slice(start, start + rows), *(slice(0, side) for side in percent.shape[1:]))
        percent[box] = compute_uncertainty_percent(stored.read(box), stored.header.maps)
    return percent


def compute_uncertainty_percent(maps: NDArray[np.uint8], kind: Maps) -> NDArray[np.uint8]:
    """Return the probability that the most likely label is wrong, in per cent, from maps (maps, *shape).

    For objects it is that of object against background.
    """
    if kind == "objects":
        wrong = np.minimum(maps[0], LARGEST - maps[0])
    else:
        best = maps[0].copy()
        for other in maps[1:]:
            np.maximum(best, other, out=best)
        wrong = LARGEST - best
    percent: NDArray[np.uint8] = _PER_CENT[wrong]
    return percent


_PER_CENT = np.round(np.arange(LARGEST + 1) * (100 / LARGEST)).astype(np.uint8)
