"""Pyramids in TIFF files (BigTIFF, OME-TIFF with SubIFDs, Aperio and others), read tile by tile with tifffile."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.codestreams import DeclaredSize, read_declared_size, refuse_many_scans
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import DECODE_ERRORS, translate_decode_errors
from napari_medseg.core.slides.slide import DamagedPartError, find_overlap, make_levels, make_white
from napari_medseg.core.tiff.axes import find_axes
from napari_medseg.core.tiff.ome import refuse_unsafe_ome
from napari_medseg.core.tiff.photometric import Colours, convert_to_grey_or_rgb, read_colours
from napari_medseg.core.tiff.spacing import read_spacing_zyx

MAX_TILE_PIXELS = 64 * 2**20
"""Of one tile or strip, which is decoded whole."""


class TiffSlide:
    """A `Slide` in a TIFF file.

    Raises
    ------
    MedSegError
        If the file is damaged, has channels or several planes, or its tiles are too large to be read piece by piece.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        with translate_decode_errors(path, "TIFF"):
            self._tiff = tifffile.TiffFile(path)
            try:
                refuse_unsafe_ome(path, self._tiff)
                self._pages = _find_levels(self._tiff, self.name)
                self._colours = [read_colours(page, self.name) for page in self._pages]
                _, y, x = read_spacing_zyx(self._tiff, self._pages[0])
            except BaseException:
                self._tiff.close()
                raise
        self.spacing_mm = None if y is None or x is None else (y, x)
        self.levels = make_levels([(int(page.imagelength), int(page.imagewidth)) for page in self._pages])

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a part of a level, see `Slide.read`."""
        page, colours = self._pages[level], self._colours[level]
        piece = make_white(height, width)
        rows, columns = _get_tile_size(page)
        # The whole extent of the level: a last tile reaches beyond it, and holds padding there.
        seen = find_overlap((y, x, height, width), (0, 0, page.imagelength, page.imagewidth))
        if seen is None:
            return piece
        top, left = y + seen.of_piece[0].start, x + seen.of_piece[1].start
        bottom, right = y + seen.of_piece[0].stop, x + seen.of_piece[1].stop
        for row in range(top // rows, -(-bottom // rows)):
            for column in range(left // columns, -(-right // columns)):
                part = (row * rows, column * columns, rows, columns)
                tile = self._read_tile(page, colours, level, row, column)
                common = find_overlap((top, left, bottom - top, right - left), part)
                if tile is not None and common is not None:
                    target = piece[seen.of_piece][common.of_piece]
                    values = tile[common.of_part]
                    target[: values.shape[0], : values.shape[1]] = values
        return piece

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def _read_tile(
        self, page: tifffile.TiffPage, colours: Colours, level: int, row: int, column: int
    ) -> NDArray[np.uint8] | None:
        """Return a tile as RGB; `None` if it was left out, as scanners do with glass."""
        rows, columns = _get_tile_size(page)
        across, down = -(-page.imagewidth // columns), -(-page.imagelength // rows)
        planes = page.samplesperpixel if int(page.planarconfig) == tifffile.PLANARCONFIG.SEPARATE else 1
        place = (level, row * rows, column * columns, rows, columns)
        try:
            parts = [self._decode(page, (plane * down + row) * across + column) for plane in range(planes)]
        except MedSegError as error:
            raise DamagedPartError(self.name, *place, str(error).rstrip(".")) from error
        except DECODE_ERRORS as error:
            raise DamagedPartError(self.name, *place, " ".join(str(error).split())[:120]) from error
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return _make_rgb(known[0] if planes == 1 else np.concatenate(known, axis=-1), colours, self.name)

    def _decode(self, page: tifffile.TiffPage, index: int) -> NDArray[Any] | None:
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if offset <= 0 or count <= 0:
            return None
        file = self._tiff.filehandle
        if offset + count > file.size:
            raise MedSegError("it ends beyond the file")
        file.seek(offset)
        data = file.read(count)
        _refuse_larger(page, data)
        segment, _, shape = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        if segment is None:
            return None
        values: NDArray[Any] = np.asarray(segment).reshape(-1, *np.asarray(segment).shape[-3:])[0]
        return values[: shape[1], : shape[2]]


def _find_levels(tiff: tifffile.TiffFile, name: str) -> list[tifffile.TiffPage]:
    """Return the pages of the largest picture, from fine to coarse."""
    if not tiff.series:
        raise MedSegError(f"{name} has no pixels. Export it again.")
    main = max(tiff.series, key=lambda series: _count_pixels(series.keyframe))
    if find_axes(main.axes, main.shape, name).shape[:-3]:
        raise MedSegError(f"{name} is a stack of planes; a slide has one plane. Save one plane as a separate file.")
    pages = [series.keyframe for series in main.levels]
    for other in tiff.series:  # levels that no tag connects, as some programs write them
        if other is not main and other.keyframe.is_tiled and _is_reduced_copy(pages[0], other.keyframe):
            pages.append(other.keyframe)
    pages = [page for page in pages if page is pages[0] or _is_reduced_copy(pages[0], page)]
    pages.sort(key=_count_pixels, reverse=True)
    for page in pages:
        _refuse_large_tiles(page, name)
    return pages


def _count_pixels(page: tifffile.TiffPage) -> int:
    return int(page.imagelength) * int(page.imagewidth)


def _is_reduced_copy(whole: tifffile.TiffPage, page: tifffile.TiffPage) -> bool:
    """Whether a page is a smaller copy: of the same form to a pixel, and of the same kind of colours."""
    if page.imagewidth >= whole.imagewidth or page.imagewidth < 1:
        return False
    factor = whole.imagewidth / page.imagewidth
    is_same_form = abs(whole.imagelength / factor - page.imagelength) <= max(2.0, 0.01 * page.imagelength)
    return bool(is_same_form and page.samplesperpixel == whole.samplesperpixel and page.dtype == whole.dtype)


def _get_tile_size(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _refuse_large_tiles(page: tifffile.TiffPage, name: str) -> None:
    rows, columns = _get_tile_size(page)
    if rows * columns > MAX_TILE_PIXELS:
        raise MedSegError(
            f"{name} is stored in parts of {columns:,} x {rows:,} pixels, which cannot be read piece by piece. "
            "Save it with tiles (in QuPath: Export as OME-TIFF; with libvips: tiffsave --tile --pyramid)."
        )


def _refuse_larger(page: tifffile.TiffPage, data: bytes) -> None:
    """Refuse a compressed tile that says itself that it is larger than the tags say: a decoder would allocate that."""
    if page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
        return
    rows, columns = _get_tile_size(page)
    declared = read_declared_size(data)
    if declared is not None and declared.n_values > DeclaredSize(rows, columns, page.samplesperpixel).n_values:
        raise MedSegError(f"it holds a compressed part of {declared} pixels")
    refuse_many_scans(data, "it")


def _make_rgb(values: NDArray[Any], colours: Colours, name: str) -> NDArray[np.uint8]:
    shown = convert_to_grey_or_rgb(np.array(values), colours, name)
    if shown.dtype == np.uint16:
        shown = (shown >> 8).astype(np.uint8)
    if shown.dtype != np.uint8:
        raise MedSegError(f"its values are of type {shown.dtype}; a slide has 8 or 16 bits for each colour")
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3)), np.uint8)
