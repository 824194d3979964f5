"""What every reader shares: damaged, hostile or unusable files become readable errors."""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError
from pydicom.errors import BytesLengthException, InvalidDicomError
from tifffile import TiffFileError

from napari_medseg.core.errors import MedSegError

# The decoders of five libraries fail on damaged bytes with whatever their parser met first; these are all that they
# raise for bad input. A MedSegError passes through, KeyboardInterrupt and the like do, too.
DECODE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    MemoryError,
    SyntaxError,
    struct.error,
    zlib.error,
    InvalidDicomError,
    BytesLengthException,
    ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    ImageDataError,
    WrapStructError,
    TiffFileError,
    DecompressionBombError,
)
_MAX_BYTES = 32 * 2**30
_ALWAYS_ALLOWED_BYTES = 256 * 2**20
_MAX_COMPRESSION_RATIO = 5000


@contextmanager
def translate_decode_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn what a decoder raises for a damaged file into a `MedSegError`.

    Parameters
    ----------
    path
        The file that is read.
    kind
        What it was taken for, such as ``"DICOM"``.

    Raises
    ------
    MedSegError
        With the file, the reason and what to do.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MedSegError(f"{path} does not exist. Check the name, or whether a drive is disconnected.") from error
    except PermissionError as error:
        raise MedSegError(
            f"{path.name} may not be read. Ask for permission, or copy it to a folder of yours."
        ) from error
    except MemoryError as error:
        raise MedSegError(f"{path.name} does not fit into memory. Open a part of it, or close other images.") from error
    except DECODE_ERRORS as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MedSegError(
            f"{path.name} cannot be read as {kind}: {reason}. It may be truncated or damaged; copy or export it again."
        ) from error


def refuse_too_large(shape: Sequence[int], item_bytes: int, path: Path) -> None:
    """Refuse a file that announces more than can be held, before memory is asked for: large, or a damaged header.

    Raises
    ------
    MedSegError
        If the pixels take more than 32 GiB, or far more than any compression could have made of them.
    """
    n_bytes = math.prod(int(length) for length in shape) * item_bytes
    if n_bytes > min(_MAX_BYTES, max(_ALWAYS_ALLOWED_BYTES, path.stat().st_size * _MAX_COMPRESSION_RATIO)):
        raise MedSegError(
            f"{path.name} says that it has {' x '.join(map(str, shape))} pixels, {n_bytes / 2**30:,.0f} GiB. "
            "Such a file is damaged or does not fit into memory; open a part of it."
        )


def refuse_unusable(pixels: NDArray[Any], name: str) -> None:
    """Refuse pixels that no task can use.

    Raises
    ------
    MedSegError
        If there are none, if they are no real numbers, or if some are NaN or infinite.
    """
    if pixels.size == 0:
        raise MedSegError(f"{name} has no pixels (its size is {pixels.shape}). Export it again.")
    if pixels.dtype.kind not in "buif":
        raise MedSegError(f"{name} holds values of type {pixels.dtype}; real numbers are expected. Convert it first.")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        bad = int(pixels.size - np.isfinite(pixels).sum())
        raise MedSegError(
            f"{name} holds {bad:,} values that are NaN or infinite; every pixel needs a number. "
            "Replace them (for CT by -1024, air) and open it again."
        )
