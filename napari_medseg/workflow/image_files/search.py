"""Which images the paths of a command mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import ImageSource
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
    """Return what several paths hold, in their order."""
    joined = ImageSearch()
    for search in searches:
        joined.add(search)
    return joined


def search_paths(paths: Sequence[Path]) -> ImageSearch:
    """Find the images of several paths, each by itself."""
    return join_searches(map(search_path, paths))
