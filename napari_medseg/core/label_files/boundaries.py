"""Outlines of labels along the edges of their pixels: filling them gives exactly the same pixels back."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as find_components

Ring = NDArray[np.int64]
_RIGHT, _DOWN, _LEFT, _UP = range(4)


@dataclass(frozen=True, eq=False)
class Region:
    """One connected piece of a label (pixels that share an edge).

    Parameters
    ----------
    value
        Value of the label or object.
    outer
        int64 (corners, 2): the closed outline as (row, column) of pixel corners; the corner of the first pixel is
        (0, 0). The first corner is not repeated. A ring never touches itself.
    holes
        Outlines of its holes, in the other direction.
    """

    value: int
    outer: Ring
    holes: tuple[Ring, ...] = ()


def trace_regions(labels: NDArray[Any]) -> list[Region]:
    """Return all connected pieces of labels (y, x), in the order of their values and then of their first pixels."""
    pieces: NDArray[Any] = find_components(labels, background=0, connectivity=1)
    if not pieces.max(initial=0):
        return []
    _, first = np.unique(pieces.ravel(), return_index=True)
    value_of = labels.ravel()[first]
    if not (pieces == 0).any():
        value_of = np.concatenate([[0], value_of])
    rings: dict[int, list[Ring]] = defaultdict(list)
    for piece, ring in _trace_rings(np.pad(pieces.astype(np.int64), 1)):
        rings[piece].append(ring)
    regions = [_make_region(int(value_of[piece]), rings[piece]) for piece in sorted(rings)]
    return sorted(regions, key=lambda region: region.value)


def join_holes(region: Region) -> Ring:
    """Return a region as one ring: a channel without width leads to each hole and back (keyhole).

    For formats that have no holes. Even-odd filling and winding numbers both give the pixels of the region back.
    """
    ring = region.outer
    for hole in region.holes:
        distances = np.abs(ring[:, None] - hole[None]).sum(axis=-1)
        at, to = np.unravel_index(int(distances.argmin()), distances.shape)
        turned = np.roll(hole, -int(to), axis=0)
        elbow = np.array([[ring[at, 0], turned[0, 1]]])  # along the edges of pixels: it crosses no pixel's centre
        ring = np.concatenate([ring[: at + 1], elbow, turned, turned[:1], elbow, ring[at:]])
    return ring


def compute_area(ring: Ring) -> int:
    """Return the area of a ring in pixels: positive for an outline, negative for a hole."""
    y, x = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) // 2


def _make_region(value: int, rings: list[Ring]) -> Region:
    outer = rings[0] if len(rings) == 1 else max(rings, key=compute_area)
    return Region(value, outer, tuple(ring for ring in rings if ring is not outer))


def _trace_rings(padded: NDArray[np.int64]) -> list[tuple[int, Ring]]:
    """Return the piece of each ring, and its corners; around a piece they run right, down, left, up."""
    edges = _list_edges(padded)
    following, meets = _find_following(edges)
    piece_of, starts, directions = (edges[:, column].tolist() for column in (0, 1, 3))
    done = [False] * len(starts)
    corners: list[int] = []
    pieces, bounds = [], [0]
    for first in range(len(starts)):
        if done[first]:
            continue
        path, touches, edge, before = [], False, first, -1
        while not done[edge]:
            done[edge] = True
            if directions[edge] != before:
                path.append(starts[edge])
                before, touches = directions[edge], touches or meets[edge]
            edge = following[edge]
        if directions[first] == before:  # the first edge goes on from the last one
            del path[0]
        for loop in _split_where_it_touches(path) if touches else [path]:
            corners += loop
            pieces.append(piece_of[first])
            bounds.append(len(corners))
    places = np.stack(np.divmod(np.array(corners, np.int64), padded.shape[1] + 1), axis=1) - 1
    return [(piece, places[begin:end]) for piece, begin, end in zip(pieces, bounds, bounds[1:], strict=False)]


def _list_edges(padded: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (piece, start, end, direction) of each pixel edge on a border, sorted by piece and start.

    Start and end are corners, numbered row by row; pixel (row, column) has the corners (row, column) to
    (row + 1, column + 1).
    """
    width = padded.shape[1] + 1
    parts = []
    for direction, (dy, dx), begin, end in (
        (_RIGHT, (-1, 0), (0, 0), (0, 1)),
        (_DOWN, (0, 1), (0, 1), (1, 1)),
        (_LEFT, (1, 0), (1, 1), (1, 0)),
        (_UP, (0, -1), (1, 0), (0, 0)),
    ):
        beside = np.roll(padded, (-dy, -dx), axis=(0, 1))
        rows, columns = np.nonzero((padded > 0) & (beside != padded))
        start = (rows + begin[0]) * width + columns + begin[1]
        stop = (rows + end[0]) * width + columns + end[1]
        parts.append(np.stack([padded[rows, columns], start, stop, np.full(len(rows), direction)], axis=1))
    edges = np.concatenate(parts)
    sorted_edges: NDArray[np.int64] = edges[np.lexsort((edges[:, 3], edges[:, 1], edges[:, 0]))]
    return sorted_edges


def _find_following(edges: NDArray[np.int64]) -> tuple[list[int], list[bool]]:
    """Return the edge that follows each edge, and whether another edge of its piece starts at the same corner.

    Where two edges start at a corner, the one that turns around the same pixel follows.
    """
    n_corners = int(edges[:, 1:3].max()) + 1
    starts = edges[:, 0] * n_corners + edges[:, 1]
    ends = edges[:, 0] * n_corners + edges[:, 2]
    found = np.searchsorted(starts, ends)
    other = np.minimum(found + 1, len(starts) - 1)
    turns_right = edges[other, 3] == (edges[:, 3] + 1) % 4
    takes_other = (starts[other] == ends) & turns_right & (other != found)
    again = starts[1:] == starts[:-1]
    meets = np.concatenate([again, [False]]) | np.concatenate([[False], again])
    return np.where(takes_other, other, found).tolist(), meets.tolist()


def _split_where_it_touches(path: list[int]) -> list[list[int]]:
    """Cut a closed path into rings that visit no corner twice."""
    rings: list[list[int]] = []
    kept: list[int] = []
    place: dict[int, int] = {}
    for corner in path:
        if corner in place:
            at = place[corner]
            rings.append(kept[at:])
            for passed in kept[at:]:
                del place[passed]
            del kept[at:]
        place[corner] = len(kept)
        kept.append(corner)
    return [*rings, kept]
