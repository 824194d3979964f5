"""Makes a slide of any size for benchmarks: real stained tissue in a BigTIFF whose tiles are shared, so it is small.

Tissue and glass are cells of 4,096 pixels. All cells of one kind point to the same compressed tiles, so a slide of
100,000 x 100,000 pixels takes some 20 MB on disk, while a reader decodes as many tiles as of any other slide.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

TILE_PX = 512
CELL_PX = 4096
MPP = 0.25
GLASS = (243, 243, 245)
_SHORT, _LONG, _LONG8, _RATIONAL, _ASCII = 3, 4, 16, 5, 2


class _SharedTiles:
    """A BigTIFF that is written page by page; equal tiles are stored once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        self._link = 8
        self._known: dict[bytes, tuple[int, int]] = {}

    def add_tile(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        """Store a tile unless it is known; return its place and length."""
        key = pixels.tobytes()
        if key not in self._known:
            data = imagecodecs.jpeg8_encode(pixels, level=85, colorspace="RGB", outcolorspace="YCBCR")
            self._known[key] = (self._file.tell(), len(data))
            self._file.write(data)
        return self._known[key]

    def add_page(self, height: int, width: int, tiles: Sequence[tuple[int, int]], downsample: int) -> None:
        """Add a page of stored tiles, row by row; all but the first are reduced copies."""
        per_cm = round(10_000 / MPP / downsample)
        tags = [
            (254, _LONG, [int(downsample > 1)]),
            (256, _LONG, [width]),
            (257, _LONG, [height]),
            (258, _SHORT, [8, 8, 8]),
            (259, _SHORT, [7]),
            (262, _SHORT, [6]),
            (277, _SHORT, [3]),
            (282, _RATIONAL, [per_cm, 1]),
            (283, _RATIONAL, [per_cm, 1]),
            (284, _SHORT, [1]),
            (296, _SHORT, [3]),
            (322, _LONG, [TILE_PX]),
            (323, _LONG, [TILE_PX]),
            (324, _LONG8, [place for place, _ in tiles]),
            (325, _LONG8, [length for _, length in tiles]),
            (530, _SHORT, [2, 2]),
        ]
        rows = []
        for tag, kind, values in tags:
            letter = {_SHORT: "H", _LONG: "I", _LONG8: "Q", _RATIONAL: "I"}[kind]
            data = struct.pack(f"<{len(values)}{letter}", *values)
            count = 1 if kind == _RATIONAL else len(values)
            if len(data) > 8:
                self._file.write(b"\0" * (-self._file.tell() % 8))
                place = self._file.tell()
                self._file.write(data)
                data = struct.pack("<Q", place)
            rows.append(struct.pack("<HHQ", tag, kind, count) + data.ljust(8, b"\0"))
        self._file.write(b"\0" * (-self._file.tell() % 8))
        start = self._file.tell()
        self._file.write(struct.pack("<Q", len(rows)) + b"".join(rows))
        next_link = self._file.tell()
        self._file.write(struct.pack("<Q", 0))
        self._file.seek(self._link)
        self._file.write(struct.pack("<Q", start))
        self._file.seek(0, 2)
        self._link = next_link

    def close(self) -> None:
        self._file.close()


def make_large_slide(path: Path, side_px: int, pictures: Sequence[NDArray[np.uint8]], seed: int = 0) -> Path:
    """Write a slide of side_px x side_px pixels with tissue in the middle.

    Parameters
    ----------
    path
        BigTIFF to write.
    side_px
        Height and width.
    pictures
        RGB pictures of tissue, of which the cells are made.
    seed
        Of the places of tissue and pictures.
    """
    random = np.random.default_rng(seed)
    cells = [_make_cell(pictures, random) for _ in range(3)]
    glass = np.full((CELL_PX, CELL_PX, 3), GLASS, np.uint8)
    n_cells = -(-side_px // CELL_PX)
    kinds = _place_tissue(n_cells, len(cells), random)
    file = _SharedTiles(path)
    for factor in (1, 2, 4, 8):
        of_cell = [_reduce(cell, factor) for cell in (glass, *cells)]
        places = [_store(file, cell) for cell in of_cell]
        per_cell = CELL_PX // factor // TILE_PX
        size = -(-side_px // factor)
        n_tiles = -(-size // TILE_PX)
        tiles = [
            places[kinds[row // per_cell, column // per_cell]][row % per_cell][column % per_cell]
            for row in range(n_tiles)
            for column in range(n_tiles)
        ]
        file.add_page(size, size, tiles, factor)
    small = [_reduce(cell, 16) for cell in (glass, *cells)]
    whole = np.concatenate([np.concatenate([small[kind] for kind in row], axis=1) for row in kinds])
    for factor in (16, 32, 64):
        size = -(-side_px // factor)
        shown = _reduce(whole, factor // 16)[:size, :size]
        n_tiles = -(-size // TILE_PX)
        padded = np.full((n_tiles * TILE_PX, n_tiles * TILE_PX, 3), GLASS, np.uint8)
        padded[: shown.shape[0], : shown.shape[1]] = shown
        file.add_page(size, size, [place for row in _store(file, padded) for place in row], factor)
        if size <= 2 * TILE_PX:
            break
    file.close()
    return path


def _make_cell(pictures: Sequence[NDArray[np.uint8]], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a cell that is tiled with pictures, each one turned by chance."""
    side = min(min(picture.shape[:2]) for picture in pictures)
    n = -(-CELL_PX // side)
    rows = []
    for _ in range(n):
        chosen = [pictures[number][:side, :side] for number in random.integers(len(pictures), size=n)]
        rows.append(np.concatenate([np.rot90(one, random.integers(4)) for one in chosen], axis=1))
    return np.ascontiguousarray(np.concatenate(rows)[:CELL_PX, :CELL_PX])


def _place_tissue(n_cells: int, n_kinds: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return the kind of each cell: 0 is glass; tissue is a disc with a ragged edge."""
    y, x = (np.mgrid[:n_cells, :n_cells] + 0.5) / n_cells - 0.5
    radius = np.hypot(y, x * 1.2) + random.normal(0, 0.03, (n_cells, n_cells))
    return np.where(radius < 0.36, random.integers(1, n_kinds + 1, (n_cells, n_cells)), 0)


def _reduce(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return pixels if factor == 1 else np.asarray(Picture.fromarray(pixels).reduce(factor))


def _store(file: _SharedTiles, pixels: NDArray[np.uint8]) -> list[list[tuple[int, int]]]:
    """Store the tiles of a picture; return the place and length of each, by row and column."""
    n_rows, n_columns = pixels.shape[0] // TILE_PX, pixels.shape[1] // TILE_PX
    return [
        [
            file.add_tile(
                np.ascontiguousarray(
                    pixels[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
                )
            )
            for column in range(n_columns)
        ]
        for row in range(n_rows)
    ]
