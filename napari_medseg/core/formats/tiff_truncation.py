"""Detect truncated TIFF files.

Readers open the first pages of a truncated stack without an error, so that slices are missing silently. The chain of
page offsets shows the truncation: its last offset must be zero.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import tifffile

from napari_medseg.core.errors import MedSegError

# Bytes per value, by the TIFF type number.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _TiffVersion:
    """Byte layout of one TIFF version: offsets, number of tags, one tag, and the position of the first offset."""

    offset: struct.Struct
    count: struct.Struct
    tag: struct.Struct
    start: int


def refuse_truncated(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Raise an error if pages, pixels or tag values lie beyond the end of a TIFF file.

    Raises
    ------
    MedSegError
        If the file is truncated; the text says what is missing.
    struct.error, KeyError, OSError
        If the file is not a TIFF.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        missing = _find_missing_in_chain(file, size)
    if missing is None and series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        missing = "its pixels end beyond the file"
    elif missing is None and series.dataoffset is None:
        missing = _find_missing_in_pages(series, size)
    if missing is not None:
        raise MedSegError(f"{path.name} is truncated: {missing}. Copy or export it again.")


def _find_missing_in_chain(file: BinaryIO, size: int) -> str | None:
    """Follow the links from page to page; return what is missing."""
    kind = _detect_tiff_version(file.read(4))
    file.seek(kind.start)
    (offset,) = kind.offset.unpack(file.read(kind.offset.size))
    seen: set[int] = set()
    while offset and offset not in seen:
        whole = f"only {len(seen)} pages are complete"
        seen.add(offset)
        if offset + kind.count.size > size:
            return whole
        file.seek(offset)
        (n_tags,) = kind.count.unpack(file.read(kind.count.size))
        if file.tell() + n_tags * kind.tag.size + kind.offset.size > size:
            return whole
        tags = [kind.tag.unpack(file.read(kind.tag.size)) for _ in range(n_tags)]
        if any(_find_value_end(tag, kind) > size for tag in tags):
            return f"tags of page {len(seen)} lie beyond the file"
        (offset,) = kind.offset.unpack(file.read(kind.offset.size))
    return None


def _find_missing_in_pages(series: tifffile.TiffPageSeries, size: int) -> str | None:
    for number, page in enumerate(series.pages, start=1):
        if page is None:
            return f"page {number} is missing"
        extents = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(offset + count > size for offset, count in extents):
            return f"page {number} ends beyond the file"
    return None


def _find_value_end(tag: tuple[int, ...], kind: _TiffVersion) -> int:
    """Offset at which the value of a tag ends; 0 if the value is stored in the tag itself."""
    _, value_type, count, place = tag
    n_bytes = _TYPE_BYTES.get(value_type, 0) * count
    return place + n_bytes if n_bytes > kind.offset.size else 0


def _detect_tiff_version(start: bytes) -> _TiffVersion:
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    if struct.unpack(f"{order}H", start[2:])[0] == 43:
        return _TiffVersion(
            struct.Struct(f"{order}Q"), struct.Struct(f"{order}Q"), struct.Struct(f"{order}HHQQ"), start=8
        )
    return _TiffVersion(struct.Struct(f"{order}I"), struct.Struct(f"{order}H"), struct.Struct(f"{order}HHII"), start=4)
