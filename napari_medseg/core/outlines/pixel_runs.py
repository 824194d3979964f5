"""Runs: stretches of neighbouring pixels on one line of an image. A filled shape is one or a few runs per line.

Many shapes are computed at once, because most are small: 100,000 calls take longer than their pixels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CORNER_TO_CENTRE_PX = 0.5
"""Outline coordinates start at the corner of the first pixel; rasterising tests pixel centres. A square with a side of
10 px covers 100 pixels."""
MAX_CROSSINGS_AT_ONCE = 1 << 21
MAX_PIXELS_AT_ONCE = 1 << 20
_ON_BORDER_PX = 1e-9

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class PixelRuns(NamedTuple):
    """Runs of several shapes, four int64 arrays (n,).

    The number of the shape in ascending order, the line, the first pixel on it, and the one after the last.
    """

    shapes: Integers
    lines: Integers
    starts: Integers
    stops: Integers

    def iterate_pixels(self) -> Iterator[tuple[int, Integers, Integers]]:
        """Yield shape by shape its number, and line and place of its pixels; a large shape comes in portions."""
        ends = np.cumsum(self.stops - self.starts)
        first = 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            stop = max(first + 1, int(np.searchsorted(ends, before + MAX_PIXELS_AT_ONCE, side="right")))
            lines, places = self._list_pixels(slice(first, stop))
            edges = np.flatnonzero(np.diff(self.shapes[first:stop])) + first
            bounds = [0, *(ends[edges] - before).tolist(), len(lines)]
            for number, begin, end in zip(self.shapes[[*edges, stop - 1]].tolist(), bounds, bounds[1:], strict=False):
                yield number, lines[begin:end], places[begin:end]
            first = stop

    def _list_pixels(self, part: slice) -> tuple[Integers, Integers]:
        starts, lengths = self.starts[part], self.stops[part] - self.starts[part]
        places = np.arange(int(lengths.sum())) + np.repeat(starts - _sum_before(lengths), lengths)
        return np.repeat(self.lines[part], lengths), places


def split_into_columns(masks: Sequence[Integers], shape: tuple[int, int]) -> PixelRuns:
    """Return the runs on each column (lines) of masks that are given as run lengths.

    Parameters
    ----------
    masks
        Of each mask, int64 (n,): lengths of background and object in turn, down the columns; their sum is the number
        of pixels.
    shape
        Height and width.
    """
    height, width = shape
    ends = np.cumsum(np.concatenate(masks))  # the masks follow one another like columns of one wide image
    counts = np.array([len(mask) for mask in masks])
    is_object = (np.arange(len(ends)) - np.repeat(_sum_before(counts), counts)) % 2 == 1
    stops = ends[is_object]
    starts = np.concatenate([[0], ends[:-1]])[is_object]
    starts, stops = starts[stops > starts], stops[stops > starts]
    first = starts // height
    n_columns = (stops - 1) // height - first + 1
    run = np.repeat(np.arange(len(starts)), n_columns)
    columns = first[run] + np.arange(len(run)) - np.repeat(_sum_before(n_columns), n_columns)
    top = columns * height
    begin, end = np.maximum(starts[run] - top, 0), np.minimum(stops[run] - top, height)
    return PixelRuns(columns // width, columns % width, begin, end)


def iterate_polygon_runs(rings: Sequence[Floats], shape: tuple[int, int]) -> Iterator[PixelRuns]:
    """Yield the runs on each row (lines) whose pixel centres lie inside closed polygons or on their borders.

    By crossings of each edge with each row (even-odd rule), so the time follows the length of the border, and not the
    number of corners times the area. A polygon with very many crossings comes in bands of rows.

    Parameters
    ----------
    rings
        Of each polygon, float64 (corners, 2) as (y, x), in pixels from the corner of the image.
    shape
        Height and width of the image, to which runs are clipped.
    """
    counts = np.array([len(ring) for ring in rings])
    y, x = np.concatenate(rings).T - CORNER_TO_CENTRE_PX
    following = np.arange(len(y)) + 1
    following[np.cumsum(counts) - 1] = _sum_before(counts)
    edges = _Edges(np.repeat(np.arange(len(rings)), counts), y, x, y[following], x[following])
    yield from _iterate_bands(edges, 0, shape[0], shape[1])


class _Edges(NamedTuple):
    """Edges of polygons: the number of the polygon, and the two ends, (n,) each."""

    shapes: Integers
    y: Floats
    x: Floats
    y_next: Floats
    x_next: Floats


def _iterate_bands(edges: _Edges, first: int, stop: int, width: int) -> Iterator[PixelRuns]:
    top, bottom = np.minimum(edges.y, edges.y_next), np.maximum(edges.y, edges.y_next)
    n_crossings = (_clip(np.floor(bottom) + 1, first, stop) - _clip(np.ceil(top), first, stop)).sum()
    if n_crossings > MAX_CROSSINGS_AT_ONCE and stop - first > 1:
        middle = (first + stop) // 2
        yield from _iterate_bands(edges, first, middle, width)
        yield from _iterate_bands(edges, middle, stop, width)
    elif n_crossings:
        yield _compute_runs(edges, (top, bottom), (first, stop), width)


def _compute_runs(edges: _Edges, heights: tuple[Floats, Floats], rows: tuple[int, int], width: int) -> PixelRuns:
    """Return the runs on some rows.

    Each row between two corners is crossed an even number of times. A row through a corner belongs to the edges below
    it in one pass and to those above it in the other, and edges along a row are runs: together that is the border, too.
    """
    top, bottom = heights
    below = _pair_crossings(edges, _clip(np.ceil(top), *rows), _clip(np.ceil(bottom), *rows))
    above = _pair_crossings(edges, _clip(np.floor(top) + 1, *rows), _clip(np.floor(bottom) + 1, *rows))
    is_level = (top == bottom) & (top == np.rint(top)) & (top >= rows[0]) & (top < rows[1])
    left, right = np.minimum(edges.x, edges.x_next), np.maximum(edges.x, edges.x_next)
    level = (edges.shapes[is_level], top[is_level].astype(np.int64), left[is_level], right[is_level])
    shapes, lines, left, right = (np.concatenate(parts) for parts in zip(below, above, level, strict=True))
    starts, stops = _clip(np.ceil(left - _ON_BORDER_PX), 0, width), _clip(np.floor(right + _ON_BORDER_PX) + 1, 0, width)
    order = np.argsort(shapes, kind="stable")
    order = order[stops[order] > starts[order]]
    return PixelRuns(shapes[order], lines[order], starts[order], stops[order])


def _pair_crossings(edges: _Edges, first: Integers, stop: Integers) -> tuple[Integers, Integers, Floats, Floats]:
    """Return shape, row, left and right end of each run; edge `n` crosses the rows from `first[n]` to `stop[n]`."""
    n_rows = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(n_rows)), n_rows)
    rows = np.arange(len(edge)) - np.repeat(_sum_before(n_rows), n_rows) + first[edge]
    slope = (edges.x_next - edges.x)[edge] / (edges.y_next - edges.y)[edge]
    across = edges.x[edge] + (rows - edges.y[edge]) * slope
    order = np.lexsort((across, rows, edges.shapes[edge]))
    shapes, rows, across = edges.shapes[edge][order], rows[order], across[order]
    return shapes[::2], rows[::2], across[::2], across[1::2]


def _sum_before(lengths: Integers) -> Integers:
    before: Integers = np.cumsum(lengths) - lengths
    return before


def _clip(values: Floats, first: int, stop: int) -> Integers:
    clipped: Integers = np.clip(values, first, stop).astype(np.int64)
    return clipped
