"""DICOM files without a preamble, and the directory (DICOMDIR) of a disc, which lists its files."""

import struct
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors

DIRECTORY_NAME = "DICOMDIR"
_FIRST_GROUPS = (0x0002, 0x0008)
_LAST_FIRST_ELEMENT = 0x0018
"""A data set without a preamble starts with its length, the length of its meta header, or one of these elements."""
_VALUE_TYPES = (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"DT", b"LO", b"SH")
_MAX_FIRST_LENGTH = 1024


def looks_like_dataset(start: bytes) -> bool:
    """Whether the first bytes of a file, without a preamble, are those of a DICOM data set.

    Parameters
    ----------
    start
        At least 8 bytes of it.
    """
    if len(start) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", start)
        if group not in _FIRST_GROUPS or element > _LAST_FIRST_ELEMENT:
            continue
        (implicit_length,) = struct.unpack_from(f"{order}I", start, 4)
        is_short = 0 < implicit_length <= _MAX_FIRST_LENGTH and implicit_length % 2 == 0
        if start[4:6] in _VALUE_TYPES or (order == "<" and is_short):
            return True
    return False


class DirectoryFiles(NamedTuple):
    """The files that a DICOMDIR lists, and how many of those that it lists are not there."""

    files: list[Path]
    n_missing: int


def list_directory_files(directory: Path) -> DirectoryFiles:
    """Return the files that a DICOMDIR lists, which lie in its folder or below.

    Raises
    ------
    MedSegError
        If it is damaged, or no file that it lists is there.
    """
    folder, found, n_listed = directory.parent, list[Path](), 0
    with translate_decode_errors(directory, "a DICOM directory"), SizedFile(directory) as file:
        dataset = dcmread(file, force=True)
        if dataset.get("DirectoryRecordSequence") is None:
            raise MedSegError(f"{directory.name} is no DICOM directory. Open the folder of the series instead.")
        for record in dataset.DirectoryRecordSequence:
            parts = record.get("ReferencedFileID")
            if not parts:
                continue
            n_listed += 1
            names = [parts] if isinstance(parts, str) else [str(part) for part in parts]
            path = _find_below(folder, names)
            found += [] if path is None else [path]
    if not found:
        raise MedSegError(
            f"{directory.name} lists {n_listed:,} files, and none of them lies beside it. Copy the whole disc."
        )
    return DirectoryFiles(found, n_listed - len(found))


def is_directory_file(path: Path) -> bool:
    """Whether a file is a DICOMDIR, by its name and its class."""
    if not path.name.upper().startswith(DIRECTORY_NAME):
        return False
    try:
        with SizedFile(path) as file:
            return bool(
                dcmread(file, specific_tags=[]).file_meta.MediaStorageSOPClassUID == MediaStorageDirectoryStorage
            )
    except Exception:  # noqa: BLE001 -- a damaged one is opened as any other file, which says what is wrong
        return False


def _find_below(folder: Path, names: list[str]) -> Path | None:
    """Return the file of these names below a folder, also if the disc was copied with names in lower case."""
    for change in (str, str.lower):
        parts = [change(name) for name in names]
        if any(part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part for part in parts):
            return None
        path = folder.joinpath(*parts)
        if path.is_file():
            return path
    return None
