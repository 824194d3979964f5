"""A NIfTI pair (.hdr, .img) as the stream of the single file that it would be: header, then voxels."""

import io
import struct
from pathlib import Path
from typing import Any

from napari_medseg.core.decoded_size.bounded_stream import BoundedStream
from napari_medseg.core.errors import MedSegError

HEADER_BYTES = 348
START_BYTES = 352
"""Of a single file before its voxels: the header, and four bytes that say that it has no extension."""
_OFFSET_AT, _MAGIC_AT = 108, 344
_PAIR_MAGIC, _SINGLE_MAGIC = b"ni1\0", b"n+1\0"


def find_pair(path: Path) -> tuple[Path, Path]:
    """Return header and voxels of a pair, of which one is given; suffixes may be in capitals.

    Raises
    ------
    MedSegError
        If the other one is missing.
    """
    is_header = path.suffix.lower() == ".hdr"
    wanted = ".img" if is_header else ".hdr"
    other = next(
        (path.with_suffix(each) for each in (wanted, wanted.upper()) if path.with_suffix(each).is_file()), None
    )
    if other is None:
        raise MedSegError(f"{path.name} is half of a pair, and {path.stem}{wanted} is missing. Put it beside it.")
    return (path, other) if is_header else (other, path)


class PairStream(BoundedStream):
    """The stream of a pair; see `BoundedStream`.

    Parameters
    ----------
    path
        One file of the pair.
    expected_bytes
        As of `BoundedStream`.

    Raises
    ------
    MedSegError
        If the other file is missing, or it is no NIfTI-1: ANALYZE 7.5 does not say what is right and left.
    """

    def __init__(self, path: Path, expected_bytes: int | None = None) -> None:
        header, voxels = find_pair(path)
        start = _make_single_start(header)
        super().__init__(voxels, is_gzip=False, expected_bytes=expected_bytes)
        self._file = _Joined(start, self._file)


class _Joined(io.RawIOBase):
    """Some bytes, and then those of an open file."""

    def __init__(self, start: bytes, rest: Any) -> None:  # noqa: ANN401 -- any open binary file
        self._start, self._rest, self._place = start, rest, 0

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, _whence: int = io.SEEK_SET) -> int:
        self._place = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        head = self._start[self._place : self._place + size]
        self._place += len(head)
        if len(head) == size:
            return head
        self._rest.seek(self._place - len(self._start))
        tail: bytes = self._rest.read(size - len(head))
        self._place += len(tail)
        return head + tail

    def close(self) -> None:
        self._rest.close()
        super().close()


def _make_single_start(header: Path) -> bytes:
    with header.open("rb") as file:
        start = bytearray(file.read(HEADER_BYTES))
    if len(start) < HEADER_BYTES or start[_MAGIC_AT:] != _PAIR_MAGIC:
        raise MedSegError(
            f"{header.name} is no header of a NIfTI-1 pair. ANALYZE 7.5 does not say what is right and left: "
            "convert it to .nii with the program that wrote it."
        )
    order = "<" if int.from_bytes(start[:4], "little") == HEADER_BYTES else ">"
    (offset,) = struct.unpack_from(f"{order}f", start, _OFFSET_AT)
    struct.pack_into(f"{order}f", start, _OFFSET_AT, offset + START_BYTES)
    start[_MAGIC_AT:] = _SINGLE_MAGIC
    return bytes(start) + bytes(START_BYTES - HEADER_BYTES)
