"""Read images whose path leads into a file: a file of an archive, or a part of a file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.containers.part_paths import InnerPath, find_inner_path, get_whole_path
from napari_medseg.core.containers.parts import read_part
from napari_medseg.core.containers.zip_archive import UnpackedArchive, is_zip, unpack
from napari_medseg.core.dicom.image_reader import read_series
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image


def read_inner(path: InnerPath, read: Callable[[Path], Image]) -> Image:
    """Read an image inside of a file; `read` reads one from its own file, or from a part of it.

    Raises
    ------
    MedSegError
        If the file does not hold it.
    """
    if is_zip(path.file):
        unpacked = unpack(path.file, only=[path.inner])
        file = unpacked.find_file(path.inner)
        if not any(each.is_file() for each in (file, *file.parents)):
            raise MedSegError(f"{path.file.name} holds no {path.inner}. It was changed, or the name is wrong.")
        return name_inner_paths(read(file), unpacked)
    image = read_part(path.file, path.inner)
    # All parts of a file are of one patient, whatever they are called.
    return image if image.group else replace(image, group=find_group(path.file, is_volume=image.axes.startswith("Z")))


def read_archived_series(archive: Path, paths: Sequence[Path]) -> Image:
    """Read the files of a DICOM series in an archive; `paths` lead into it."""
    inner = [path.relative_to(archive) for path in paths]
    unpacked = unpack(archive, only=inner)
    return name_inner_paths(read_series([unpacked.find_file(each) for each in inner]), unpacked)


@contextmanager
def open_inner_files(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield where files lie that may be in an archive, as long as the block runs; files of the disk are themselves.

    Raises
    ------
    MedSegError
        If the archive is damaged.
    """
    first = find_inner_path(paths[0]) if paths else None
    if first is None or not is_zip(first.file):
        yield list(paths)
        return
    inner = [path.relative_to(first.file) for path in paths if path.is_relative_to(first.file)]
    unpacked = unpack(first.file, only=inner)
    try:
        yield [unpacked.find_file(each) for each in inner]
    finally:
        unpacked.remove()


def give_source_paths(image: Image, source: ImageSource) -> Image:
    """Return an image of a source under the paths of the source, which lead into a file."""
    if source.archive is not None:
        image = name_inner_paths(image, source.archive)
    return replace(image, sources=source.paths) if len(source.paths) == 1 else image


def name_inner_paths(image: Image, unpacked: UnpackedArchive) -> Image:
    """Return an image of unpacked files under its paths in the archive, where it is found again."""
    inner = replace(image, sources=tuple(unpacked.get_inner_path(path) for path in image.sources))
    if not image.series:  # the folder for temporary files says nothing about the patient
        whole = get_whole_path(inner.sources[0])
        inner = replace(inner, group=find_group(whole, is_volume=image.axes.startswith("Z")))
    return inner
