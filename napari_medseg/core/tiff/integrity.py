"""Detect TIFF files that are not whole: truncated files, missing strips or tiles, and pages that mean different things.

Readers open the first pages of a truncated stack without an error, so that slices are missing silently. The chain of
page offsets shows the truncation: its last offset must be zero. They also fill a missing strip with zeros, and read all
pages of a stack as the first one says.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import tifffile

from napari_medseg.core.errors import MedSegError

# Bytes per value, by the TIFF type number.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT = 3
# Tags of one number that must be the same on all pages of a stack. Without the tag, the number is 1.
_SAME_ON_ALL_PAGES = {262: "colour kind", 274: "Orientation", 277: "number of samples", 284: "order of samples"}
_COLOUR_MAP = 320
# Series that tifffile makes of all pages that are alike, without a word of the file about them.
_PLAIN_KINDS = ("generic", "uniform")

_ONE = (_SHORT, 1, 1)
_Tags = dict[int, tuple[int, int, int]]
"""Of one page, by the number of the tag: type, count, and the value or its offset."""


@dataclass(frozen=True)
class _TiffVersion:
    """Byte layout of one TIFF version: offsets, number of tags, one tag, and the position of the first offset."""

    offset: struct.Struct
    count: struct.Struct
    tag: struct.Struct
    start: int


def refuse_broken_chain(path: Path) -> None:
    """Raise an error if pages are missing, or their links run in a circle, which tifffile would follow without end.

    Call it before tifffile looks for the images of a file. It raises like `refuse_incomplete`.
    """
    with path.open("rb") as file:
        _refuse_missing(path, _read_chain(file, path.stat().st_size)[1])


def _refuse_missing(path: Path, missing: str | None) -> None:
    if missing is not None:
        raise MedSegError(f"{path.name} is truncated or damaged: {missing}. Copy or export it again.")


def refuse_incomplete(path: Path, series: tifffile.TiffPageSeries) -> None:
    """Raise an error if pages, pixels or tag values are missing, or if the pages do not form one stack.

    Raises
    ------
    MedSegError
        If the file is truncated, if a strip or tile is missing, or if pages differ in colour kind, palette or
        orientation; the text says what and where.
    struct.error, KeyError, OSError
        If the file is not a TIFF.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        pages, missing = _read_chain(file, size)
        _refuse_missing(path, missing or _find_missing_pixels(series, size))
        difference = _find_difference(file, series, pages)
    if difference is not None:
        raise MedSegError(f"{path.name}: {difference}. Save the pages as separate files, or all in the same way.")


def _read_chain(file: BinaryIO, size: int) -> tuple[dict[int, _Tags], str | None]:
    """Follow the links from page to page; return the tags by the offset of their page, and what is missing."""
    kind = _detect_tiff_version(file.read(4))
    file.seek(kind.start)
    (offset,) = kind.offset.unpack(file.read(kind.offset.size))
    pages: dict[int, _Tags] = {}
    while offset and offset not in pages:
        whole = f"only {len(pages)} pages are complete"
        if offset + kind.count.size > size:
            return pages, whole
        file.seek(offset)
        (n_tags,) = kind.count.unpack(file.read(kind.count.size))
        if file.tell() + n_tags * kind.tag.size + kind.offset.size > size:
            return pages, whole
        tags = [kind.tag.unpack(file.read(kind.tag.size)) for _ in range(n_tags)]
        pages[offset] = {tag[0]: (tag[1], tag[2], _decode_value(tag, kind)) for tag in tags}
        if any(_find_value_end(tag, kind) > size for tag in tags):
            return pages, f"tags of page {len(pages)} lie beyond the file"
        before, (offset,) = offset, kind.offset.unpack(file.read(kind.offset.size))
        if offset in pages and offset != before:  # a last page that names itself is read as the last one
            return pages, f"after page {len(pages)} its pages begin again, in a circle"
    return pages, None


def _find_missing_pixels(series: tifffile.TiffPageSeries, size: int) -> str | None:
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        return "its pixels end beyond the file"
    for number, page in enumerate(series.pages, start=1):
        if page is None:
            if series.dataoffset is None:
                return f"page {number} is missing"
            continue
        n_parts = math.prod(page.chunked)
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        what = "tile" if page.keyframe.is_tiled else "strip"
        empty = next((n for n, (offset, count) in enumerate(parts) if offset <= 0 or count <= 0), len(parts))
        if empty < n_parts and not page.keyframe.is_contiguous:
            return f"{what} {empty + 1} of {n_parts} on page {number} is missing"
        if any(offset + count > size for offset, count in parts):
            return f"page {number} ends beyond the file"
    return None


def _find_difference(file: BinaryIO, series: tifffile.TiffPageSeries, pages: dict[int, _Tags]) -> str | None:
    """Compare the tags of all pages of a series with those of its first page; find pages that are left out."""
    if series.kind in _PLAIN_KINDS and (left_out := _find_left_out(series)) is not None:
        return f"page {left_out} is of another size or kind than the pages around it"
    own = [pages[page.offset] for page in series.pages if page is not None and page.offset in pages]
    for number, tags in enumerate(own[1:], start=2):
        for tag, what in _SAME_ON_ALL_PAGES.items():
            if tags.get(tag, _ONE)[-1] != own[0].get(tag, _ONE)[-1]:
                return f"page {number} has another {what} than page 1"
        if _read_colour_map(file, tags) != _read_colour_map(file, own[0]):
            return f"page {number} has another palette than page 1"
    return None


def _find_left_out(series: tifffile.TiffPageSeries) -> int | None:
    """Return the number of the first full-size page that lies between those of the series, but is not part of it."""
    own = {page.index for page in series.pages if page is not None}
    for n in range(min(own), max(own)):
        if n not in own and series.parent is not None:
            page = series.parent.pages[n].aspage()
            if not (page.is_reduced or page.is_mask):
                return n + 1
    return None


def _read_colour_map(file: BinaryIO, tags: _Tags) -> bytes:
    if _COLOUR_MAP not in tags:
        return b""
    value_type, count, offset = tags[_COLOUR_MAP]
    file.seek(offset)
    return file.read(_TYPE_BYTES.get(value_type, 0) * count)


def _find_value_end(tag: tuple[int, ...], kind: _TiffVersion) -> int:
    """Offset at which the value of a tag ends; 0 if the value is stored in the tag itself."""
    _, value_type, count, place = tag
    n_bytes = _TYPE_BYTES.get(value_type, 0) * count
    return place + n_bytes if n_bytes > kind.offset.size else 0


def _decode_value(tag: tuple[int, ...], kind: _TiffVersion) -> int:
    """Return the number or offset in a tag; one short number is in the first two bytes of its place."""
    _, value_type, count, value = tag
    if value_type == _SHORT and count == 1 and kind.offset.format.startswith(">"):
        return value >> 8 * (kind.offset.size - 2)
    return value


def _detect_tiff_version(start: bytes) -> _TiffVersion:
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    if struct.unpack(f"{order}H", start[2:])[0] == 43:
        return _TiffVersion(
            struct.Struct(f"{order}Q"), struct.Struct(f"{order}Q"), struct.Struct(f"{order}HHQQ"), start=8
        )
    return _TiffVersion(struct.Struct(f"{order}I"), struct.Struct(f"{order}H"), struct.Struct(f"{order}HHII"), start=4)
