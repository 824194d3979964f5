"""Which of the dropped files and folders are slides."""

from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.part_paths import is_store
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.formats.find_reader import READERS
from napari_medseg.core.slides.open_slide import SLIDE_SUFFIXES, is_slide
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES

N_LOOKED_INTO = 30
"""Of so many TIFF files of a drop each is looked into; of more, only large ones, as a look takes a millisecond."""
LARGE_BYTES = 20_000_000
_ORDINARY_SUFFIXES = (".tif", ".tiff")


def split_slides(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the slides among some paths, and the other paths.

    Of a folder with slides in it, those are taken, and its other images and subfolders are among the other paths.
    """
    slides: list[Path] = []
    others: list[Path] = []
    is_many = len(paths) > N_LOOKED_INTO
    for path in paths:
        if find_address(path) is None and path.is_dir() and not is_store(path):
            found = _list_slides_in(path)
            slides += found
            others += _list_others_in(path, found) if found else [path]
        elif _is_likely(path, is_many=is_many) and is_slide(path):
            slides.append(path)
        else:
            others.append(path)
    return slides, others


def _list_slides_in(folder: Path) -> list[Path]:
    """Return the slides in a folder, not in its subfolders; of TIFF files only large ones are looked into."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []  # reading it says what is wrong
    return [path for path in inside if _is_likely(path, is_many=True) and is_slide(path)]


def _is_likely(path: Path, *, is_many: bool) -> bool:
    suffix = path.suffix.lower()
    is_ordinary = suffix in _ORDINARY_SUFFIXES
    return suffix in SLIDE_SUFFIXES and (not (is_many and is_ordinary) or _is_large(path))


def _list_others_in(folder: Path, slides: list[Path]) -> list[Path]:
    """Return the files of a folder of slides that may be images, and its subfolders."""
    inside = (path for path in sorted(folder.iterdir()) if path not in slides and not path.name.startswith("."))
    known = {*READERS, *VIDEO_SUFFIXES}
    return [path for path in inside if (path.is_dir() and not _belongs_to(path, slides)) or get_suffix(path) in known]


def _belongs_to(folder: Path, slides: list[Path]) -> bool:
    """Whether a folder holds the data of a slide: of MRXS, it has the name of the file."""
    return any(slide.stem == folder.name for slide in slides)


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size >= LARGE_BYTES
    except OSError:
        return False
