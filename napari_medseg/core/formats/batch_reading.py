"""Read a batch of files and folders: what cannot be read is reported, and the rest goes on."""

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import IrregularSlicesError, MedSegError
from napari_medseg.core.formats import ImageSource, describe_empty_folder, find_images, read_source
from napari_medseg.core.image import Image


@dataclass(frozen=True)
class ReadFailure:
    """A file or folder that cannot be used, and why."""

    text: str


@dataclass(frozen=True)
class ReadProgress:
    """Image `number` of `total` is being read."""

    number: int
    total: int
    name: str


def read_images(paths: Sequence[Path]) -> Generator[Image | ReadFailure | ReadProgress]:
    """Read all images in these files and folders; slices of one series become one volume.

    What cannot be read is reported as `ReadFailure`; the others are still read.
    """
    sources = find_images(paths)
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
            yield ReadFailure(describe_empty_folder(folder))


def _read_separately(paths: Sequence[Path]) -> Generator[Image | ReadFailure | ReadProgress]:
    """Read each of these files as a separate image."""
    for number, path in enumerate(paths, start=1):
        yield ReadProgress(number, len(paths), path.name)
        try:
            yield _read_and_hash(ImageSource(path.name, (path,)))
        except MedSegError as error:
            yield ReadFailure(str(error))


def _read_and_hash(source: ImageSource) -> Image:
    image = read_source(source)
    _ = image.content_hash  # computed here, in the thread that reads, so that the window does not block
    return image
