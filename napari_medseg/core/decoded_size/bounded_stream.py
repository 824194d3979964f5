"""Read a plain or gzip file as a stream that ends in an error where it would exceed a limit.

Memory grows with what is really in the file, never with what a header says, and by at most one chunk above the limit.
"""

import gzip
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_medseg.core.decoded_size.limit import compute_limit, refuse_above_limit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 2**20
_SLACK_BYTES = 2**16
"""For a header before the pixels."""


class BoundedStream(io.BufferedIOBase):
    """The content of a file, which a library may read and seek like a file; closing it closes the file.

    Parameters
    ----------
    path
        The file.
    is_gzip
        Whether it is inflated. Checksum and length of gzip are checked at the end of the stream.
    expected_bytes
        What the pixels take at most, if that is known otherwise, see `compute_limit`.

    Raises
    ------
    MedSegError
        From `read`, `readinto`, `seek` and `read_to_end`, once more bytes were read than the image may take.
    """

    def __init__(self, path: Path, *, is_gzip: bool, expected_bytes: int | None = None) -> None:
        self._name, self._disk_bytes = path.name, path.stat().st_size
        self._file: Any = gzip.GzipFile(path) if is_gzip else path.open("rb")
        self._limit_bytes = compute_limit(self._disk_bytes, expected_bytes).n_bytes + _SLACK_BYTES
        self._is_gzip, self._expected_bytes = is_gzip, expected_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; a step back in a gzip file inflates it again."""
        return True

    def tell(self) -> int:
        """Return the position in the inflated bytes."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset from the start; other origins are not known before the end is read."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the length of the stream is not known")
        if offset < self.tell() or not self._is_gzip:
            self._file.seek(offset)
        while self.tell() < offset and self._read_chunk(offset - self.tell()):
            pass
        return self.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes: as many as there are, if `size` is negative."""
        content = bytearray()
        wanted = None if size is None or size < 0 else size
        if wanted is not None and wanted > self._limit_bytes:
            self._refuse(wanted, is_exact=True)
        while wanted is None or len(content) < wanted:
            chunk = self._read_chunk(CHUNK_BYTES if wanted is None else wanted - len(content))
            if not chunk:
                break
            content += chunk
        return bytes(content)

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill an array with the next bytes; return how many there were."""
        view = memoryview(buffer).cast("B")
        n = 0
        while n < len(view) and (chunk := self._read_chunk(len(view) - n)):
            view[n : n + len(chunk)] = chunk
            n += len(chunk)
        return n

    def read_to_end(self) -> None:
        """Read what is left and drop it, so that a checksum at the end of the stream is checked."""
        while self._read_chunk(CHUNK_BYTES):
            pass

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _read_chunk(self, wanted: int) -> bytes:
        chunk: bytes = self._file.read(min(wanted, CHUNK_BYTES))
        if self._is_gzip and self.tell() > self._limit_bytes:
            self._refuse(self.tell(), is_exact=False)
        return chunk

    def _refuse(self, n_bytes: int, *, is_exact: bool) -> None:
        refuse_above_limit(
            n_bytes, self._disk_bytes, self._name, is_exact=is_exact, expected_bytes=self._expected_bytes
        )


def refuse_large_deflated(file: BinaryIO, disk_bytes: int, name: str) -> int:
    """Inflate the rest of an open file chunk by chunk and drop it; refuse it if it holds more than an image may take.

    Returns
    -------
    int
        The bytes that it inflates to.

    Raises
    ------
    MedSegError
        As `refuse_above_limit`.
    zlib.error
        If the stream is damaged.
    """
    limit_bytes = compute_limit(disk_bytes).n_bytes + _SLACK_BYTES
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    while not inflater.eof and (packed := file.read(CHUNK_BYTES)):
        while packed and not inflater.eof:
            total += len(inflater.decompress(packed, CHUNK_BYTES))
            packed = inflater.unconsumed_tail
            if total > limit_bytes:
                refuse_above_limit(total, disk_bytes, name, is_exact=False)
    return total
