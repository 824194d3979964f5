"""What a file holds by its first bytes, whatever its name says."""

import gzip
import zlib
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.discovery import (
    NIFTI_PAIR_SUFFIXES,
    NIFTI_SUFFIXES,
    PNG_JPEG_SUFFIXES,
    TIFF_SUFFIXES,
    get_suffix,
)

N_START_BYTES = 352
"""So many bytes tell the kind: a NIfTI-1 header has 348."""
_GZIP = b"\x1f\x8b"
_NIFTI_SIZES = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}
"""Length of the header with which NIfTI-1 and NIfTI-2 start, and where their magic word stands."""
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"NRRD", "an NRRD file"),
    (b"ObjectType", "a MetaImage header"),
    (b"NDims", "a MetaImage header"),
    (b"SQLite format 3", "a database"),
    (b"version https://git-lfs", "a pointer of Git LFS, without the file itself (git lfs pull fetches it)"),
)
_PICTURE_KINDS: tuple[tuple[bytes, str], ...] = ((b"GIF8", "a GIF picture"), (b"BM", "a BMP picture"))
_KINDS_OF_MASKS: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = (
    (tuple(NIFTI_SUFFIXES), frozenset()),
    (tuple(PNG_JPEG_SUFFIXES), frozenset({"a PNG picture", "a JPEG picture", "a TIFF file"})),
    (tuple(TIFF_SUFFIXES), frozenset({"a TIFF file"})),
)
"""What a reader of masks takes under these suffixes; NIfTI is known by its header."""
_TEXT_BYTES = frozenset({*range(0x20, 0x7F), *b"\t\n\r"})
_WEB_PAGE_STARTS = ("<!doctype html", "<html")


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip by its first bytes; raises `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def holds_nifti(path: Path, start: bytes) -> bool:
    """Whether a file is NIfTI, plain or in gzip, whatever its name is; `start` is its first `N_START_BYTES`."""
    return _is_nifti(start) or (start.startswith(_GZIP) and _is_nifti(_inflate_start(path)))


def is_half_of_pair(path: Path) -> bool:
    """Whether a file is the header or the voxels of a NIfTI pair; a single NIfTI file may have their names, too."""
    if get_suffix(path) not in NIFTI_PAIR_SUFFIXES:
        return False
    with path.open("rb") as file:
        return not holds_nifti(path, file.read(N_START_BYTES))


def describe_content(path: Path, start: bytes, *, is_picture: bool) -> str:
    """Return what a file is, such as ``"a ZIP archive"``; empty if that is not known.

    `is_picture`: its name is that of a PNG or JPEG, under which a GIF or BMP is read, too.
    """
    if start.startswith(_GZIP):
        inner = _inflate_start(path)
        if not inner:  # empty or damaged: the reader says how
            return ""
        within = describe_content(path, inner, is_picture=False) if not inner.startswith(_GZIP) else "a gzip file"
        return f"{within or 'another file'} in gzip"
    if start[128:132] == b"DICM":
        return "a DICOM file"
    if not start.strip(b"\0"):
        return "a file of zeros"
    kinds = _KINDS if is_picture else (*_KINDS, *_PICTURE_KINDS)
    known = next((name for magic, name in kinds if start.startswith(magic)), "")
    return known or _describe_text(start)


def refuse_other_content(path: Path) -> None:
    """Refuse a mask that is of another kind than its name says, such as an archive or a text file named ``.png``.

    Raises
    ------
    MedSegError
        Says what it is; also if it is empty or cannot be read.
    """
    suffix = get_suffix(path)
    own_kinds = next((kinds for suffixes, kinds in _KINDS_OF_MASKS if suffix in suffixes), None)
    if own_kinds is None:
        return
    with translate_decode_errors(path, "a mask"):
        with path.open("rb") as file:
            start = file.read(N_START_BYTES)
        if suffix in NIFTI_SUFFIXES and holds_nifti(path, start):
            return
        kind = describe_content(path, start, is_picture=suffix in PNG_JPEG_SUFFIXES)
    if not start:
        raise MedSegError(f"{path.name} is empty (0 bytes). Copy or export it again.")
    if kind and kind not in own_kinds:
        raise MedSegError(
            f"{path.name} is {kind}; its name stands for another format. Unpack or convert it, or copy the right file."
        )


def _describe_text(start: bytes) -> str:
    if not set(start) <= _TEXT_BYTES:
        return ""
    is_page = start.decode("ascii").lstrip().lower().startswith(_WEB_PAGE_STARTS)
    return "a web page, such as a failed download" if is_page else "a text file"


def _is_nifti(start: bytes) -> bool:
    for order in ("little", "big"):
        place, magic = _NIFTI_SIZES.get(int.from_bytes(start[:4], order), (0, b"none"))
        if start[place : place + 4] == magic:
            return True
    return False


def _inflate_start(path: Path) -> bytes:
    try:
        with gzip.open(path) as packed:
            return packed.read(N_START_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
