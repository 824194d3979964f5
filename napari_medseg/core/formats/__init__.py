"""Readers and writers of image files. A reader returns an `Image` in canonical order; a writer restores the file order
exactly.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from napari_medseg.core.dicom.image_reader import read_dicom, read_series, read_series_with_headers
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.discovery import (
    DICOM_SUFFIXES,
    JPEG_SUFFIXES,
    MAX_FILES,
    NIFTI_SUFFIXES,
    PNG_JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    TIFF_VARIANT_SUFFIXES,
    ImageSource,
    find_images,
    format_sources,
    get_suffix,
    walk_files,
)
from napari_medseg.core.formats.label_reader import read_labels, read_mask
from napari_medseg.core.formats.labels import WRITERS, write_image, write_labels
from napari_medseg.core.formats.nifti import read_nifti
from napari_medseg.core.formats.png_jpeg import read_png_jpeg
from napari_medseg.core.formats.tiff import read_tiff
from napari_medseg.core.groups import find_group
from napari_medseg.core.image import Image

__all__ = [
    "JPEG_SUFFIXES",
    "READERS",
    "WRITERS",
    "ImageSource",
    "can_read",
    "describe_empty_folder",
    "find_images",
    "read",
    "read_labels",
    "read_mask",
    "read_series",
    "read_source",
    "write_image",
    "write_labels",
]

READERS: dict[str, Callable[[Path], Image]] = {
    **dict.fromkeys(DICOM_SUFFIXES, read_dicom),
    **dict.fromkeys(NIFTI_SUFFIXES, read_nifti),
    **dict.fromkeys((*TIFF_SUFFIXES, *TIFF_VARIANT_SUFFIXES), read_tiff),
    **dict.fromkeys(PNG_JPEG_SUFFIXES, read_png_jpeg),
}
_N_START_BYTES = 132
# First bytes of a file. They are checked before the suffix: a PNG that is named .jpg is read as PNG.
_MAGIC: tuple[tuple[bytes, Callable[[Path], Image]], ...] = (
    (b"\x89PNG", read_png_jpeg),
    (b"\xff\xd8\xff", read_png_jpeg),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"II+\0", read_tiff),
    (b"MM\0+", read_tiff),
)


def can_read(path: Path) -> bool:
    """Whether a file may hold an image, or a folder a file that may. A fast check: reading can still fail.

    A file is known by its suffix or its first bytes, as `read` knows it. A folder is searched as by `find_images`.
    """
    if os.path.isdir(path):
        return any(can_read(file) for file in islice(walk_files(path), MAX_FILES))
    if get_suffix(path) in READERS:
        return True
    try:
        with path.open("rb") as file:
            return _detect_reader(file.read(_N_START_BYTES)) is not None
    except (OSError, ValueError):
        return False


def describe_empty_folder(folder: Path) -> str:
    """Return the message about a folder without images."""
    return (
        f"the folder {folder.name} holds no image; supported formats are {_format_expected_types()}. "
        "Choose another folder."
    )


def read(path: Path) -> Image:
    """Read one file, or a folder that holds exactly one image.

    Returns
    -------
    Image
        In canonical order, with its group: the patient of a DICOM file, else what `core.groups` finds in the file name.

    Raises
    ------
    MedSegError
        If the file is missing, empty, damaged, of another format or has too many dimensions, or if a folder holds
        several images (the text lists them; `find_images` returns them one by one).
    """
    if os.path.isdir(path):
        sources = find_images(path)
        if not sources:
            raise MedSegError(describe_empty_folder(path))
        if len(sources) > 1:
            raise MedSegError(
                f"the folder {path.name} holds {len(sources)} images: {format_sources(sources)}. Open one of them."
            )
        return read_source(sources[0])
    image = _find_reader(path)(path)
    return image if image.group else replace(image, group=find_group(path, is_volume=image.axes.startswith("Z")))


def read_source(source: ImageSource) -> Image:
    """Read an image that `find_images` found; raises `MedSegError` like `read` and `read_series`, or its problem."""
    if source.problem:
        raise MedSegError(source.problem)
    if source.headers:
        return read_series_with_headers(source.headers)
    return read(source.paths[0]) if len(source.paths) == 1 else read_series(source.paths)


def _find_reader(path: Path) -> Callable[[Path], Image]:
    with translate_decode_errors(path, "an image"), path.open("rb") as file:
        start = file.read(_N_START_BYTES)
    if not start:
        raise MedSegError(f"{path.name} is empty (0 bytes). Copy or export it again.")
    if reader := _detect_reader(start) or READERS.get(get_suffix(path)):
        return reader
    raise MedSegError(
        f"{path.name} has an unsupported format; supported formats are {_format_expected_types()}. Convert it."
    )


def _detect_reader(start: bytes) -> Callable[[Path], Image] | None:
    """Return the reader for a file by its first bytes; `None` if they are not known."""
    if start[_N_START_BYTES - 4 :] == b"DICM":
        return read_dicom
    return next((reader for magic, reader in _MAGIC if start.startswith(magic)), None)


def _format_expected_types() -> str:
    return "DICOM, NIfTI, TIFF, PNG and JPEG"
