"""A file of which no read allocates more than the file holds, whatever length a damaged file makes a library ask for.

Python allocates the bytes that it is asked for before it reads, so one damaged length of four bytes takes 4 GB.
"""

import io
import os
from pathlib import Path

_HARMLESS_BYTES = 2**16
"""A read of so many bytes needs no look at the size of the file."""


class SizedFile(io.BufferedReader):
    """A file on the disk, open for reading; as `path.open("rb")`, but a read takes at most what is left of the file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        raw = io.FileIO(path)
        raw.name = path.name  # pydicom puts it into messages, and only as text
        super().__init__(raw)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes: fewer than asked for where the file ends, all if `size` is negative."""
        if size is None or size <= _HARMLESS_BYTES:
            return super().read(size)
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(max(0, min(size, left)))
