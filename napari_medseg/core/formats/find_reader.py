"""Which reader opens a file: by its first bytes, then by its suffix."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.dicom.bare_files import looks_like_dataset
from napari_medseg.core.dicom.image_reader import read_dicom
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.content import N_START_BYTES, describe_content, holds_nifti
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.discovery import (
    ARRAY_SUFFIXES,
    DICOM_SUFFIXES,
    MAX_FILES,
    METAIMAGE_SUFFIXES,
    NIFTI_PAIR_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PNG_JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    TIFF_VARIANT_SUFFIXES,
    get_suffix,
    is_project,
    walk_files,
)
from napari_medseg.core.formats.other_rooms import read_nrrd_volume, read_volume
from napari_medseg.core.formats.png_jpeg import read_png_jpeg
from napari_medseg.core.formats.tiff import read_tiff
from napari_medseg.core.image import Image
from napari_medseg.core.nifti.reader import read_nifti
from napari_medseg.core.slides.open_slide import is_slide
from napari_medseg.core.video.video_files import is_video
from napari_medseg.core.volumes.numpy_arrays import read_numpy_array

READERS: dict[str, Callable[[Path], Image]] = {
    **dict.fromkeys(DICOM_SUFFIXES, read_dicom),
    **dict.fromkeys((*NIFTI_SUFFIXES, *NIFTI_PAIR_SUFFIXES), read_nifti),
    **dict.fromkeys((*TIFF_SUFFIXES, *TIFF_VARIANT_SUFFIXES), read_tiff),
    **dict.fromkeys(PNG_JPEG_SUFFIXES, read_png_jpeg),
    **dict.fromkeys(ARRAY_SUFFIXES, read_numpy_array),
    **dict.fromkeys(METAIMAGE_SUFFIXES, read_volume),
    **dict.fromkeys(NRRD_SUFFIXES, read_nrrd_volume),
}
_DICOM_MAGIC = slice(128, 132)
_SUFFIXES_OF_BINARY_FILES = {
    *DICOM_SUFFIXES,
    *NIFTI_SUFFIXES,
    *PNG_JPEG_SUFFIXES,
    *TIFF_SUFFIXES,
    *TIFF_VARIANT_SUFFIXES,
}
# First bytes of a file. They are checked before the suffix: a PNG that is named .jpg is read as PNG.
_MAGIC: tuple[tuple[bytes, Callable[[Path], Image]], ...] = (
    (b"\x89PNG", read_png_jpeg),
    (b"\xff\xd8\xff", read_png_jpeg),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"II+\0", read_tiff),
    (b"MM\0+", read_tiff),
    (b"NRRD000", read_nrrd_volume),
)


def can_read(path: Path) -> bool:
    """Whether a file may hold an image, or a folder a file that may. A fast check: reading can still fail.

    A file is known by its suffix or its first bytes, as `read` knows it. A folder is searched as by `find_images`;
    a project may be read, too, so that reading says what it is.
    """
    if find_address(path) is not None:
        return is_slide(path)
    if is_zip(path) or is_slide(path):
        return True
    if os.path.isdir(path):
        return is_project(path) or any(can_read(file) for file in islice(walk_files(path), MAX_FILES))
    if get_suffix(path) in READERS:
        return True
    if not os.path.isfile(path):  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            start = file.read(N_START_BYTES)
            return _detect_reader(start) is not None or looks_like_dataset(start)
    except (OSError, ValueError):
        return False


def find_reader(path: Path) -> Callable[[Path], Image]:
    """Return what reads a file.

    Raises
    ------
    MedSegError
        If it is empty, missing, or of a format that is not read; the text says what it is.
    """
    with translate_decode_errors(path, "an image"), path.open("rb") as file:
        start = file.read(N_START_BYTES)
    if not start:
        raise MedSegError(f"{path.name} is empty (0 bytes). Copy or export it again.")
    if reader := _detect_reader(start):
        return reader
    with translate_decode_errors(path, "an image"):
        if holds_nifti(path, start):
            return read_nifti
        kind = describe_content(path, start, is_picture=get_suffix(path) in PNG_JPEG_SUFFIXES)
    if kind and get_suffix(path) in _SUFFIXES_OF_BINARY_FILES:
        raise MedSegError(
            f"{path.name} is {kind}; its name stands for another format. Supported formats are "
            f"{format_expected_types()}. Unpack or convert it, or copy the right file."
        )
    if reader := READERS.get(get_suffix(path)):
        return reader
    if looks_like_dataset(start):
        return read_dicom
    if is_video(path):
        raise MedSegError(f"{path.name} is a video. Drop it on the window, or use medseg video to take frames of it.")
    known = f" (it is {kind})" if kind else ""
    raise MedSegError(
        f"{path.name} has an unsupported format{known}; supported formats are {format_expected_types()}. Convert it."
    )


def _detect_reader(start: bytes) -> Callable[[Path], Image] | None:
    """Return the reader for a file by its first bytes; `None` if they are not known."""
    if start[_DICOM_MAGIC] == b"DICM":
        return read_dicom
    return next((reader for magic, reader in _MAGIC if start.startswith(magic)), None)


def format_expected_types() -> str:
    """Return the names of the formats that are read."""
    return "DICOM, NIfTI, MetaImage, NRRD, TIFF, PNG, JPEG, BMP, WebP, JPEG 2000 and NumPy"
