"""Shared by all readers: damaged, malicious or unusable files are reported as readable errors."""

import os
import struct
import zlib
from collections.abc import Iterator
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

from napari_medseg.core.decoded_size.slabs import iterate_slabs
from napari_medseg.core.errors import MedSegError

# All exceptions that the decoders of five libraries raise for damaged input. MedSegError and KeyboardInterrupt are not
# caught.
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


@contextmanager
def translate_decode_errors(path: Path, kind: str) -> Iterator[None]:
    """Convert the exceptions that a decoder raises for a damaged file to `MedSegError`.

    Parameters
    ----------
    path
        The file that is read.
    kind
        The expected format, such as ``"DICOM"``.

    Raises
    ------
    MedSegError
        Names the file, the reason and what to do; also if it is a pipe or a device, which may be read without end.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise MedSegError(f"{path.name} is neither a file nor a folder. Choose a file.")
    try:
        yield
    except FileNotFoundError as error:
        raise MedSegError(f"{path} does not exist. Check the name, or whether a drive is disconnected.") from error
    except PermissionError as error:
        raise MedSegError(
            f"no permission to read {path.name}. Ask for permission, or copy it to one of your folders."
        ) from error
    except MemoryError as error:
        raise MedSegError(f"{path.name} does not fit into memory. Open a part of it, or close other images.") from error
    except DECODE_ERRORS as error:
        reason = " ".join(str(error).replace(str(path), path.name).split())[:200] or type(error).__name__
        raise MedSegError(
            f"{path.name} cannot be read as {kind}: {reason}. It may be truncated or damaged; copy or export it again."
        ) from error


def refuse_unusable(pixels: NDArray[Any], name: str) -> None:
    """Raise an error if no task can use these pixels.

    Raises
    ------
    MedSegError
        If there are no pixels, if they are not real numbers, or if some are NaN or infinite.
    """
    if pixels.size == 0:
        raise MedSegError(f"{name} has no pixels (its size is {pixels.shape}). Export it again.")
    if pixels.dtype.kind not in "buif":
        raise MedSegError(f"{name} holds values of type {pixels.dtype}; real numbers are expected. Convert it first.")
    if pixels.dtype.kind == "f" and (
        bad := sum(int(np.count_nonzero(~np.isfinite(pixels[slab]))) for slab in iterate_slabs(pixels))
    ):
        raise MedSegError(
            f"{name} holds {bad:,} values that are NaN or infinite; every pixel needs a number. "
            "Replace them (for CT by -1024, air) and open it again."
        )
