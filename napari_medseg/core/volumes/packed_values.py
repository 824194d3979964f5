"""The voxels of a file: read up to the size that its header says, and refused if the file holds less or more."""

import bz2
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.bounded_stream import CHUNK_BYTES
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile

ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
"""Window bits with which zlib finds out itself which of the two it is."""


@dataclass(frozen=True)
class Part:
    """Which one of `count` equal arrays that lie one behind the other, from 1 on."""

    number: int = 1
    count: int = 1


WHOLE = Part()


def read_values(
    file: SizedFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    encoding: str,
    expected_bytes: int | None,
    part: Part = WHOLE,
) -> NDArray[Any]:
    """Read an array from where a file stands; of several that it holds, one, and only that one is in memory.

    Parameters
    ----------
    file
        Open at the first byte of the voxels.
    name
        Its name, for the error.
    dtype, shape
        As the header says.
    encoding
        ``"raw"``, ``"zlib"`` (also gzip) or ``"bzip2"``.
    expected_bytes
        What the pixels take at most, if that is known; see `compute_limit`.
    part
        Which array of the file it is.

    Raises
    ------
    MedSegError
        If they would take too much memory.
    ValueError
        If the file holds fewer or more of them, or a checksum fails.
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    start = file.tell()
    on_disk = file.seek(0, 2)
    file.seek(start)
    refuse_above_limit(n_bytes, on_disk, name, expected_bytes=expected_bytes)
    total, begin = n_bytes * part.count, n_bytes * (part.number - 1)
    if encoding == "raw" and on_disk - start < total:
        raise ValueError(f"its header announces {total:,} bytes of voxels, but {on_disk - start:,} follow")
    content = bytearray(n_bytes)
    passed = begin if encoding == "raw" else 0
    file.seek(start + passed)
    for chunk in _iterate_chunks(file, n_bytes, encoding):
        if passed + len(chunk) > total:
            raise ValueError(f"more voxels follow than the {total:,} bytes that its header announces")
        first, last = max(passed, begin), min(passed + len(chunk), begin + n_bytes)
        if first < last:
            content[first - begin : last - begin] = chunk[first - passed : last - passed]
        passed += len(chunk)
    if passed < (begin + n_bytes if encoding == "raw" else total):
        raise ValueError(f"its header announces {total:,} bytes of voxels, but {passed:,} follow")
    return np.frombuffer(content, dtype).reshape(shape)


def _iterate_chunks(file: BinaryIO, n_bytes: int, encoding: str) -> Iterator[bytes]:
    if encoding == "raw":
        left = n_bytes
        while left and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
    elif encoding == "bzip2":
        yield from _unpack_bzip2(file)
    else:
        yield from _inflate(file)


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    inflater = zlib.decompressobj(ZLIB_OR_GZIP)
    while not inflater.eof:
        packed = inflater.unconsumed_tail or file.read(CHUNK_BYTES)
        if not packed:
            raise ValueError("its compressed voxels are truncated")
        yield inflater.decompress(packed, CHUNK_BYTES)


def _unpack_bzip2(file: BinaryIO) -> Iterator[bytes]:
    unpacker = bz2.BZ2Decompressor()
    while not unpacker.eof:
        packed = file.read(CHUNK_BYTES) if unpacker.needs_input else b""
        if unpacker.needs_input and not packed:
            raise ValueError("its compressed voxels are truncated")
        yield unpacker.decompress(packed, CHUNK_BYTES)
