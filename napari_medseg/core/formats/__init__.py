"""Readers and writers of image files. A reader returns an `Image` in canonical order; a writer restores the file order
exactly.
"""

import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from napari_medseg.core.decoded_size.limit import MAX_VALUE_BYTES
from napari_medseg.core.dicom.bare_files import looks_like_dataset
from napari_medseg.core.dicom.image_reader import read_dicom, read_series, read_series_with_headers
from napari_medseg.core.errors import IrregularSlicesError, MedSegError, translate_errors
from napari_medseg.core.formats.content import N_START_BYTES, describe_content, holds_nifti
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.discovery import (
    ARRAY_SUFFIXES,
    DICOM_SUFFIXES,
    JPEG_SUFFIXES,
    MAX_FILES,
    METAIMAGE_SUFFIXES,
    NIFTI_PAIR_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PNG_JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    TIFF_VARIANT_SUFFIXES,
    FoundImages,
    ImageSource,
    find_images,
    format_sources,
    get_suffix,
    search_images,
    walk_files,
)
from napari_medseg.core.formats.label_reader import MASK_SUFFIXES, read_labels, read_mask, read_mask_image
from napari_medseg.core.formats.labels import WRITERS, write_image, write_labels
from napari_medseg.core.formats.nifti import read_nifti
from napari_medseg.core.formats.other_rooms import read_nrrd_volume, read_volume
from napari_medseg.core.formats.png_jpeg import read_png_jpeg
from napari_medseg.core.formats.tiff import read_tiff
from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image
from napari_medseg.core.volumes.numpy_arrays import read_numpy_array

__all__ = [
    "JPEG_SUFFIXES",
    "MASK_SUFFIXES",
    "READERS",
    "WRITERS",
    "FoundImages",
    "ImageSource",
    "ReadFailure",
    "ReadNote",
    "ReadProgress",
    "can_read",
    "find_images",
    "get_suffix",
    "read",
    "read_images",
    "read_labels",
    "read_mask",
    "read_mask_image",
    "read_series",
    "read_source",
    "read_tiff",
    "search_images",
    "write_image",
    "write_labels",
]

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


@dataclass(frozen=True)
class ReadFailure:
    """A file or folder that cannot be used, and why."""

    text: str


@dataclass(frozen=True)
class ReadNote:
    """What was skipped in the folders, as a sentence."""

    text: str


@dataclass(frozen=True)
class ReadProgress:
    """Image `number` of `total` is being read."""

    number: int
    total: int
    name: str


def can_read(path: Path) -> bool:
    """Whether a file may hold an image, or a folder a file that may. A fast check: reading can still fail.

    A file is known by its suffix or its first bytes, as `read` knows it. A folder is searched as by `find_images`.
    """
    if os.path.isdir(path):
        return any(can_read(file) for file in islice(walk_files(path), MAX_FILES))
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


def read(path: Path, *, expected_shape: tuple[int, ...] | None = None) -> Image:
    """Read one file, or a folder that holds exactly one image.

    Parameters
    ----------
    path
        The file or folder.
    expected_shape
        Shape that an image copy of this program must have, with channels. Such a TIFF, NIfTI or PNG file is read
        however small it is on disk, or however little memory is free; a larger one is refused. `None` for other files.

    Returns
    -------
    Image
        In canonical order, with its group: the patient of a DICOM file, else what `core.grouping.groups` finds in the
        file name.

    Raises
    ------
    MedSegError
        If the file is missing, empty, damaged, of another format or has too many dimensions, or if a folder holds
        several images (the text lists them; `find_images` returns them one by one).
    """
    if os.path.isdir(path):
        found = search_images(path)
        sources = found.sources
        if not sources:
            raise MedSegError(_describe_empty_folder(path, found.note))
        if len(sources) > 1:
            raise MedSegError(
                f"the folder {path.name} holds {len(sources)} images: {format_sources(sources)}. Open one of them."
            )
        return read_source(sources[0])
    image = _read_file(path, expected_shape)
    return image if image.group else replace(image, group=find_group(path, is_volume=image.axes.startswith("Z")))


def _read_file(path: Path, expected_shape: tuple[int, ...] | None) -> Image:
    reader = _find_reader(path)
    if expected_shape is not None:
        for sized in (read_tiff, read_nifti, read_png_jpeg):
            if reader is sized:
                return sized(path, math.prod(expected_shape) * MAX_VALUE_BYTES)
    return reader(path)


def read_source(source: ImageSource) -> Image:
    """Read an image that `find_images` found; raises `MedSegError` like `read` and `read_series`, or its problem."""
    if source.problem:
        raise MedSegError(source.problem)
    if source.headers:
        return read_series_with_headers(source.headers)
    return read(source.paths[0]) if len(source.paths) == 1 else read_series(source.paths)


def read_images(paths: Sequence[Path]) -> Generator[Image | ReadFailure | ReadNote | ReadProgress]:
    """Read all images in these files and folders; slices of one series become one volume.

    What cannot be read is reported as `ReadFailure`; the others are still read. DICOM without an image, such as a
    segmentation, is skipped with a `ReadNote`.
    """
    try:
        with translate_errors():
            found = search_images(paths)
    except MedSegError as error:
        yield ReadFailure(str(error))
        return
    sources = found.sources
    yield from _note_skipped(found)
    for number, source in enumerate(sources, start=1):
        yield ReadProgress(number, len(sources), source.name)
        try:
            yield _read_and_hash(source)
        except IrregularSlicesError as error:
            if any(os.path.isdir(path) for path in paths):
                yield ReadFailure(str(error))
            else:  # slices that the user selected one by one are read as single slices
                yield from _read_separately(source.paths)
        except MedSegError as error:
            yield ReadFailure(str(error))
    for folder in paths:
        if os.path.isdir(folder) and not any(folder in (path, *path.parents) for s in sources for path in s.paths):
            yield ReadFailure(_describe_empty_folder(folder))


def _note_skipped(found: FoundImages) -> Iterator[ReadNote]:
    if found.note:
        yield ReadNote(found.note)


def _read_separately(paths: Sequence[Path]) -> Generator[Image | ReadFailure | ReadProgress]:
    """Read each of these files as a separate image."""
    for number, path in enumerate(paths, start=1):
        yield ReadProgress(number, len(paths), path.name)
        try:
            yield _read_and_hash(ImageSource(path.name, (path,)))
        except MedSegError as error:
            yield ReadFailure(str(error))


def _read_and_hash(source: ImageSource) -> Image:
    with translate_errors():  # one file without permission or too large for memory must not end the batch
        image = read_source(source)
        _ = image.content_hash  # computed here, in the thread that reads, so that the window does not block
    return image


def _find_reader(path: Path) -> Callable[[Path], Image]:
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
            f"{_format_expected_types()}. Unpack or convert it, or copy the right file."
        )
    if reader := READERS.get(get_suffix(path)):
        return reader
    if looks_like_dataset(start):
        return read_dicom
    raise MedSegError(
        f"{path.name} has an unsupported format; supported formats are {_format_expected_types()}. Convert it."
    )


def _detect_reader(start: bytes) -> Callable[[Path], Image] | None:
    """Return the reader for a file by its first bytes; `None` if they are not known."""
    if start[_DICOM_MAGIC] == b"DICM":
        return read_dicom
    return next((reader for magic, reader in _MAGIC if start.startswith(magic)), None)


def _describe_empty_folder(folder: Path, note: str = "") -> str:
    """Return the message about a folder without images; `note` says what it holds instead."""
    return (
        f"the folder {folder.name} holds no image; supported formats are {_format_expected_types()}. "
        f"{note or 'Choose another folder.'}"
    )


def _format_expected_types() -> str:
    return "DICOM, NIfTI, MetaImage, NRRD, TIFF, PNG, JPEG, BMP, WebP, JPEG 2000 and NumPy"
