"""Read the NumPy files (`.npz`, `.npy`) that this program writes; whatever is damaged in one is a `ValueError`."""

import math
import struct
import zlib
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.decoded_size.limit import DEFLATE_MAX_RATIO, refuse_above_limit
from napari_medseg.core.errors import MedSegError

_DAMAGE = (OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, SyntaxError, MemoryError, TokenError)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive by name.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is damaged; the text says how. Nothing larger than the file can hold is allocated.
    """
    content = read_file(path)  # from here on, `OSError` means a place that the file does not have
    try:
        with ZipFile(BytesIO(content)) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
            if n_bytes > DEFLATE_MAX_RATIO * len(content):
                raise ValueError(f"it claims to hold {n_bytes} bytes")
            refuse_above_limit(n_bytes, len(content), path.name)  # before the first byte is inflated
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    _refuse_larger_array(file, entry.filename, entry.file_size)
        with np.load(BytesIO(content), allow_pickle=False) as kept:
            return {name: np.asarray(kept[name]) for name in kept.files}
    except (*_DAMAGE, MedSegError, BadZipFile, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {str(error) or type(error).__name__}") from error


def read_array(path: Path, max_bytes: int) -> NDArray[Any]:
    """Read the one array of a `.npy` file of at most so many bytes; errors are those of `read_arrays`."""
    content = read_file(path, max_bytes)
    file = BytesIO(content)
    try:
        _refuse_larger_array(file, path.name, len(content))
        file.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged: {str(error) or type(error).__name__}") from error
    return array


def _refuse_larger_array(file: IO[bytes], name: str, file_bytes: int) -> None:
    """Compare the size of an array by its header with that of its file: NumPy allocates the first one."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = read_header[version](file)
    if (n_bytes := math.prod(shape) * dtype.itemsize) > file_bytes:
        raise ValueError(f"{name} claims {n_bytes} bytes, and has {file_bytes}")
