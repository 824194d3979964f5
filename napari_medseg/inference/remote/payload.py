"""Arrays and files in binary frames: chunks of at most 1 MiB, each compressed without loss, and a hash over all.

A frame begins with its number, the length of its content and how that is compressed. The receiver knows from the header
how much is to come, so a frame that claims more is refused before anything is decompressed.

Chunks are compressed by Zstandard; values of several bytes are bit-shuffled first (Masui et al. 2015). Measured on one
core: a CT slice of 512 x 512 shrinks 2.4 times in 1.2 ms (plain Zstandard: 1.8 in 2.5 ms; shuffled LZ4: 2.2 in 0.7 ms),
its labels 60 times in 0.1 ms.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.inference.remote.messages import ArraySpec, PayloadHeader, WireError

CHUNK_BYTES = 2**20
"""Of a payload, before compression: the largest frame, and what a cancel has to wait for."""
MAX_FRAME_BYTES = CHUNK_BYTES + 2**16
"""A frame that is longer is not read."""
PREFIX = struct.Struct(">QIB")
"""Number of the frame, bytes of its content after decompression, and how it is compressed."""
STORED, ZSTANDARD, SHUFFLED = 0, 1, 2
_LEVEL = 1
_WORTH_SHUFFLING = 8
"""Values; fewer are not changed by a bit shuffle."""


@dataclass(frozen=True)
class Chunk:
    """The content of one binary frame, still compressed."""

    n_bytes: int
    codec: int
    data: memoryview


def describe_array(array: NDArray[Any]) -> ArraySpec:
    """Return shape and type as they are sent: little-endian."""
    return ArraySpec(shape=array.shape, dtype=array.dtype.newbyteorder("<").str)


def make_array_header(name: str, array: NDArray[Any]) -> tuple[PayloadHeader, memoryview]:
    """Return the header of an array and its bytes, in C order and little-endian."""
    spec = describe_array(array)
    content = np.ascontiguousarray(array, dtype=spec.dtype)
    data = content.reshape(-1).view(np.uint8).data
    digest = hashlib.sha256(data).hexdigest()
    return PayloadHeader(name=name, n_bytes=spec.n_bytes, sha256=digest, array=spec), data


def make_file_header(name: str, path: Path) -> PayloadHeader:
    """Return the header of a file; `name` is its path for the other end."""
    return PayloadHeader(name=name, n_bytes=path.stat().st_size, sha256=compute_file_sha256(path))


def encode_chunk(data: memoryview | bytes, itemsize: int) -> tuple[int, bytes | memoryview]:
    """Return how the content of a frame is compressed, and the content.

    Parameters
    ----------
    data
        At most `CHUNK_BYTES`.
    itemsize
        Bytes of a value; 1 for files.
    """
    content, codec = data, ZSTANDARD
    if itemsize > 1 and len(data) >= _WORTH_SHUFFLING * itemsize:
        content, codec = imagecodecs.bitshuffle_encode(bytes(data), itemsize=itemsize), SHUFFLED
    packed: bytes = imagecodecs.zstd_encode(content, level=_LEVEL)
    return (STORED, data) if len(packed) >= len(data) else (codec, packed)


def decode_chunk(chunk: Chunk, itemsize: int) -> bytes | memoryview:
    """Return the content of a chunk, which has the length that it claims; raises `WireError` if it has not."""
    if chunk.codec == STORED:
        content: bytes | memoryview = chunk.data
    elif chunk.codec in (ZSTANDARD, SHUFFLED):
        try:
            content = imagecodecs.zstd_decode(chunk.data, out=chunk.n_bytes)
            if chunk.codec == SHUFFLED:
                content = imagecodecs.bitshuffle_decode(content, itemsize=itemsize)
        except (RuntimeError, ValueError) as error:  # imagecodecs has an error of its own for each codec
            raise WireError("a compressed frame is damaged") from error
    else:
        raise WireError("a frame is compressed in an unknown way")
    if len(content) != chunk.n_bytes:
        raise WireError("a frame has another length than it says")
    return content


def iterate_file(file: IO[bytes], n_bytes: int) -> Iterator[bytes]:
    """Yield the first `n_bytes` of a file in chunks; a file that has become shorter is refused by the other end."""
    while n_bytes > 0 and (data := file.read(min(CHUNK_BYTES, n_bytes))):
        n_bytes -= len(data)
        yield data


def iterate_bytes(data: memoryview) -> Iterator[memoryview]:
    """Yield bytes in chunks."""
    for first in range(0, len(data), CHUNK_BYTES):
        yield data[first : first + CHUNK_BYTES]


class PayloadTarget(Protocol):
    """Where the bytes of a payload go."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take the next bytes."""


class ArrayTarget:
    """Memory for an array that is received; pages are taken as they are written."""

    def __init__(self, spec: ArraySpec) -> None:
        self.array: NDArray[Any] = np.empty(spec.shape, np.dtype(spec.dtype))
        self._bytes = self.array.reshape(-1).view(np.uint8)
        self._filled = 0

    def write(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        self._bytes[self._filled : self._filled + len(data)] = np.frombuffer(data, np.uint8)
        self._filled += len(data)


class PayloadReceiver:
    """Takes the chunks of one payload, checks each before it is decompressed, and the hash at the end."""

    def __init__(self, header: PayloadHeader, target: PayloadTarget) -> None:
        self._header = header
        self._target = target
        self._left = header.n_bytes
        self._itemsize = 1 if header.array is None else np.dtype(header.array.dtype).itemsize
        self._digest = hashlib.sha256()

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come."""
        return self._left == 0

    def take(self, chunk: Chunk) -> None:
        """Take the next chunk; raises `WireError` if it is damaged or more than was announced."""
        if not 0 < chunk.n_bytes <= min(self._left, CHUNK_BYTES):
            raise WireError("a frame is longer than what was announced")
        content = decode_chunk(chunk, self._itemsize)
        self._digest.update(content)
        self._target.write(content)
        self._left -= len(content)

    def check(self) -> None:
        """Raise `WireError` if the content is not that of the header."""
        if self._left or self._digest.hexdigest() != self._header.sha256:
            raise WireError(f"{self._header.name[:80]!r} was damaged on the way")
