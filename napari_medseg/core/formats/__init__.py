"""Readers and writers of image files. A reader returns an `Image` in canonical order; a writer restores the file order
exactly.
"""

import math
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.containers.choice import refuse_unchosen_parts
from napari_medseg.core.containers.image_source import FoundImages, ImageSource, format_sources
from napari_medseg.core.containers.inner_files import give_source_paths, read_archived_series, read_inner
from napari_medseg.core.containers.part_paths import find_inner_path, get_whole_path
from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.decoded_size.limit import MAX_VALUE_BYTES
from napari_medseg.core.dicom.image_reader import read_series as read_dicom_series
from napari_medseg.core.dicom.image_reader import read_series_with_headers
from napari_medseg.core.errors import IrregularSlicesError, MedSegError, translate_errors
from napari_medseg.core.formats.discovery import JPEG_SUFFIXES, find_images, get_suffix, search_images
from napari_medseg.core.formats.find_reader import READERS, can_read, find_reader, format_expected_types
from napari_medseg.core.formats.label_reader import MASK_SUFFIXES, read_labels, read_mask, read_mask_image
from napari_medseg.core.formats.labels import WRITERS, write_image, write_labels
from napari_medseg.core.formats.png_jpeg import read_png_jpeg
from napari_medseg.core.formats.tiff import read_tiff
from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image
from napari_medseg.core.nifti.reader import read_nifti
from napari_medseg.core.slides.open_slide import refuse_whole_slide

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
    "read_found",
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
    if expected_shape is None:
        refuse_whole_slide(path)
    if os.path.isdir(path) or is_zip(path):
        return _read_only_image(path)
    if (inner := find_inner_path(path)) is not None:
        return read_inner(inner, read)
    image = _read_file(path, expected_shape)
    return image if image.group else replace(image, group=find_group(path, is_volume=image.axes.startswith("Z")))


def _read_file(path: Path, expected_shape: tuple[int, ...] | None) -> Image:
    reader = find_reader(path)
    if expected_shape is not None:
        for sized in (read_tiff, read_nifti, read_png_jpeg):
            if reader is sized:
                return sized(path, math.prod(expected_shape) * MAX_VALUE_BYTES)
    return reader(path)


def _read_only_image(path: Path) -> Image:
    found = search_images(path)
    sources = found.sources
    what = "folder" if os.path.isdir(path) else "archive"
    if not sources:
        raise MedSegError(_describe_empty_folder(path, found.note))
    if len(sources) > 1:
        raise MedSegError(
            f"the {what} {path.name} holds {len(sources)} images: {format_sources(sources)}. Open one of them."
        )
    return read_source(sources[0])


def read_series(paths: Sequence[Path]) -> Image:
    """Read the slices of one DICOM series, also those that lie in an archive; see `core.dicom.image_reader`."""
    if paths and (inner := find_inner_path(paths[0])) is not None and is_zip(inner.file):
        return read_archived_series(inner.file, paths)
    return read_dicom_series(paths)


def read_source(source: ImageSource) -> Image:
    """Read an image that `find_images` found; raises `MedSegError` like `read` and `read_series`, or its problem."""
    if source.problem:
        raise MedSegError(source.problem)
    if source.headers:
        image = read_series_with_headers(source.headers)
    elif source.paths != source.files and get_whole_path(source.paths[0]) != source.paths[0]:  # a part of a file
        image = read(source.files[0] / source.paths[0].name)
    else:
        image = read(source.files[0]) if len(source.files) == 1 else read_dicom_series(source.files)
    return image if source.paths == source.files else give_source_paths(image, source)


def read_images(paths: Sequence[Path]) -> Generator[Image | ReadFailure | ReadNote | ReadProgress]:
    """Read all images in these files and folders; slices of one series become one volume.

    What cannot be read is reported as `ReadFailure`; the others are still read. So is a file of several volumes or
    phases, of which one must be chosen, see `search_images` and `read_found`. DICOM without an image, such as a
    segmentation, is skipped with a `ReadNote`.
    """
    try:
        with translate_errors():
            found = search_images(paths)
    except MedSegError as error:
        yield ReadFailure(str(error))
        return
    chosen, problems = refuse_unchosen_parts(found.sources)
    yield from map(ReadFailure, problems)
    yield from read_found(found, paths, chosen)


def read_found(
    found: FoundImages, paths: Sequence[Path], chosen: Sequence[ImageSource]
) -> Generator[Image | ReadFailure | ReadNote | ReadProgress]:
    """Read chosen images of those that were found in files and folders, and report as `read_images` does."""
    yield from _note_skipped(found)
    for number, source in enumerate(chosen, start=1):
        yield ReadProgress(number, len(chosen), source.name)
        try:
            yield _read_and_hash(source)
        except IrregularSlicesError as error:
            if source.archive is not None or any(os.path.isdir(path) for path in paths):
                yield ReadFailure(str(error))
            else:  # slices that the user selected one by one are read as single slices
                yield from _read_separately(source.paths)
        except MedSegError as error:
            yield ReadFailure(str(error))
    for folder in paths:
        is_empty = not any(folder in (path, *path.parents) for source in found.sources for path in source.paths)
        if os.path.isdir(folder) and is_empty:
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


def _describe_empty_folder(folder: Path, note: str = "") -> str:
    """Return the message about a folder without images; `note` says what it holds instead."""
    return (
        f"the folder {folder.name} holds no image; supported formats are {format_expected_types()}. "
        f"{note or 'Choose another folder.'}"
    )
