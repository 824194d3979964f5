"""Which of the dropped files and folders are slides."""

from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.part_paths import is_store
from napari_medseg.core.slides.open_slide import SLIDE_SUFFIXES, is_slide

N_LOOKED_INTO = 30
"""Of so many files each is looked into; of more, only large ones, as a look takes a millisecond."""
LARGE_BYTES = 20_000_000
_ORDINARY_SUFFIXES = (".tif", ".tiff")


def split_slides(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the slides among some paths, and the other paths; a folder of slides gives its files.

    Only the files in a folder itself are looked at, not its subfolders, which are among the other paths.
    """
    slides: list[Path] = []
    others: list[Path] = []
    is_many = len(paths) > N_LOOKED_INTO
    for path in paths:
        if find_address(path) is None and path.is_dir() and not is_store(path):
            inside = sorted(path.iterdir())
            found = [each for each in inside if _is_likely(each, is_many=True) and is_slide(each)]
            slides += found
            others += [each for each in inside if each not in found] if found else [path]
        elif _is_likely(path, is_many=is_many) and is_slide(path):
            slides.append(path)
        else:
            others.append(path)
    return slides, others


def _is_likely(path: Path, *, is_many: bool) -> bool:
    suffix = path.suffix.lower()
    if suffix not in SLIDE_SUFFIXES or not is_many or suffix not in _ORDINARY_SUFFIXES:
        return suffix in SLIDE_SUFFIXES
    try:
        return path.stat().st_size >= LARGE_BYTES
    except OSError:
        return False
