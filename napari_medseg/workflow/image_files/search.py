"""Which images the paths of a command mean."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import ImageSource, format_sources
from napari_medseg.core.errors import MedSegError, translate_errors


@dataclass(frozen=True)
class ImageSearch:
    """The images, remarks about what was skipped in folders, and errors."""

    sources: list[ImageSource] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "ImageSearch") -> None:
        """Add what another path holds."""
        self.sources.extend(other.sources)
        self.skipped.extend(other.skipped)
        self.errors.extend(other.errors)


def search_path(path: Path) -> ImageSearch:
    """Find the images in a file, folder or archive; one that holds none, or cannot be searched, is an error."""
    try:
        with translate_errors():
            found = formats.search_images(path)
        if not found.sources:
            raise MedSegError(f"{path} contains no readable image. {found.note or 'Choose another file or folder.'}")
    except MedSegError as error:
        return ImageSearch(errors=[str(error)])
    return ImageSearch(list(found.sources), [found.note] if found.note else [])


def join_searches(searches: Iterable[ImageSearch]) -> ImageSearch:
    """Return what several paths hold, in their order; an image that is named again is left out, with a remark."""
    joined, folders = ImageSearch(), dict[Path, str]()
    for search in searches:
        joined.add(search)
    first: dict[tuple[str, ...], ImageSource] = {}
    repeated: list[ImageSource] = []
    for source in joined.sources:
        if first.setdefault(_identify(source, folders), source) is not source:
            repeated.append(source)
    joined.sources[:] = first.values()
    if repeated:
        joined.skipped.append(f"Named more than once, used once: {format_sources(repeated)}.")
    return joined


def search_paths(paths: Sequence[Path]) -> ImageSearch:
    """Find the images of several paths, each by itself."""
    return join_searches(map(search_path, paths))


def _identify(source: ImageSource, folders: dict[Path, str]) -> tuple[str, ...]:
    """Return what is equal for two sources of the same files, however their folder is written.

    `folders` keeps what the folders are really called: the system is asked once for each of them.
    """
    names = [f"{_find_real_folder(path.parent, folders)}/{path.name}" for path in source.paths]
    return (source.series, source.part, *sorted(names))


def _find_real_folder(folder: Path, folders: dict[Path, str]) -> str:
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return folders[folder]
