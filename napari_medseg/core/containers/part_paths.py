"""The path of one image inside a file that holds several: it continues the path of its file, as if that were a folder.

``study.zip/CT/IM0001`` is a file in an archive, ``scan.nii.gz/scan_volume3.nii.gz`` the third volume of a file of four
dimensions, ``heart.dcm/heart_phase2.dcm`` a phase of an enhanced DICOM file. So a case knows its image by its path
alone, and finds it again after a restart. A part has the suffix of its file, and the number at the end of its name.
A Zarr store counts as a file, whether it is a folder or lies on a network (see `core.containers.addresses`).
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.errors import MedSegError

STORE_SUFFIX = ".zarr"

_NUMBERED = re.compile(r"_([a-z]+)(\d{1,9})$")


class SeveralImagesError(MedSegError):
    """A file holds several images, and none was chosen.

    Parameters
    ----------
    path
        The file.
    count, what
        How many it holds, and what they are: ``"volumes"``, ``"phases"``.
    shape
        Its size in brackets, or ``""``.
    example
        Path of one of them.
    """

    def __init__(self, path: Path, count: int, what: str, shape: str, example: Path) -> None:
        self.name, self.count, self.what = path.name, count, what
        super().__init__(
            f"{path.name}{shape} holds {count:,} {what}, and here one is expected. Choose in the window when you drop "
            f"it, with --series on the command line, or name one: {path.name}/{example.name}."
        )


class InnerPath(NamedTuple):
    """A path that leads into a file: the file, and the rest of the path."""

    file: Path
    inner: Path


def find_inner_path(path: Path) -> InnerPath | None:
    """Return the file into which a path leads; `None` if it is a file or folder itself, or leads nowhere."""
    if find_address(path) is not None:
        store = get_whole_path(path)
        return None if store == path else InnerPath(store, path.relative_to(store))
    if os.path.lexists(path):
        return None
    for parent in path.parents:
        if os.path.isfile(parent) or is_store(parent):
            return InnerPath(parent, path.relative_to(parent))
        if os.path.isdir(parent):
            return None
    return None


def is_store(path: Path) -> bool:
    """Whether a path is a folder that holds one image as many chunks (Zarr)."""
    return path.suffix.lower() == STORE_SUFFIX and os.path.isdir(path)


def exists(path: Path) -> bool:
    """Whether a path is there, or the file into which it leads; what is inside, or on a network, is not looked up."""
    return find_address(path) is not None or path.exists() or find_inner_path(path) is not None


def make_part_path(path: Path, what: str, number: int) -> Path:
    """Return the path of a part of a file, such as volume 3.

    Parameters
    ----------
    path
        The file.
    what
        A word in small letters, such as ``"volume"``.
    number
        From 1 on.
    """
    suffix = _get_suffixes(path)
    return path / f"{path.name[: len(path.name) - len(suffix)]}_{what}{number}{suffix}"


def parse_part_name(inner: Path, what: str) -> int | None:
    """Return the number of a part by its name; `None` if it is no such name."""
    name = inner.name[: len(inner.name) - len(_get_suffixes(inner))]
    found = _NUMBERED.search(name)
    return int(found[2]) if len(inner.parts) == 1 and found and found[1] == what else None


def get_whole_path(path: Path) -> Path:
    """Return the path of the file of which a path names a part; the path itself if it names none.

    It looks at the names, so the file does not have to be there; a file that is there, in a folder with such a name, is
    no part.
    """
    whole = path.parent
    suffix = _get_suffixes(path)
    stem = whole.name[: len(whole.name) - len(suffix)]
    is_part = bool(suffix and stem) and path.name.startswith(f"{stem}_") and _get_suffixes(whole) == suffix
    return whole if is_part and not os.path.isfile(path) else path


def _get_suffixes(path: Path) -> str:
    """Return the suffix as it is written; that of ``.nii.gz`` has two words."""
    suffix = path.suffix
    return path.name[-7:] if path.name.lower().endswith(".nii.gz") else suffix
