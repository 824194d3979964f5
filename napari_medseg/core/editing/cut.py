"""Cut objects by a line: each part keeps its pixels, so that no gap is drawn.

The line runs between pixels: it parts two neighbours if it crosses the segment between their centres. A part is what is
still connected. In a volume, the line cuts like a blade that goes through all slices of the object.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import csgraph

from napari_medseg.core.editing.canvas import Canvas, Change, join_changes
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import get_box_shape, group_near_boxes, join_boxes, move_box, read_line
from napari_medseg.core.editing.objects import MAX_NAMED, find_free_numbers, find_pieces_on_line
from napari_medseg.core.editing.pieces import Piece
from napari_medseg.core.editing.runs import find_components
from napari_medseg.core.errors import MedSegError

STEP_PX = 24.0
"""Lines are taken apart into steps of this length, because each step reads the pixels of its own box only."""
MIN_PART_PX = 4
"""Smaller parts are crumbs of an unsteady line; they stay with their neighbour. Tiny objects have no crumbs."""
GRAZED_SHARE = 0.05
"""An object that loses less is not cut if another one is."""
_OFF_CENTRES = np.array([1.3e-4, 0.7e-4])
"""A line through the centres of pixels would be on neither side of them."""
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def cut_objects(canvas: Canvas, line: ArrayLike, plane: int | None = None) -> Edit:
    """Cut the objects that a line crosses on a slice: the largest part keeps the number, the others get free ones.

    Objects in which the line starts or ends are cut only if it crosses no other one; then its ends are extended.

    Parameters
    ----------
    canvas
        Labels of a task of instances.
    line
        Points (n, 2), (y, x) in pixels; at least two.
    plane
        Slice of a volume; `None` for a 2-D image.

    Raises
    ------
    MedSegError
        If the line crosses no object, or the task has no instances.
    """
    return _cut(canvas, line, plane, in_volume=False)


def cut_objects_in_volume(canvas: Canvas, line: ArrayLike, plane: int) -> Edit:
    """Like `cut_objects`, through the object on all slices."""
    return _cut(canvas, line, plane, in_volume=True)


def _cut(canvas: Canvas, line: ArrayLike, plane: int | None, *, in_volume: bool) -> Edit:
    canvas.require_instances()
    points = read_line(line)
    pieces, _, owners = find_pieces_on_line(canvas.labels, points, plane, in_volume=in_volume)
    if not pieces:
        raise MedSegError("the line crosses no object. Drag across the one to split.")
    crossed = _choose_clear_cuts(_split_crossed(pieces, points, owners))
    if not crossed:
        names = ", ".join(canvas.name(piece.value) for piece in pieces[:3])
        raise MedSegError(f"the line does not split {names}. Drag all the way across.")
    numbers = iter(find_free_numbers(canvas.labels, sum(int(parts.max()) - 1 for _, parts in crossed)))
    changes, texts = [], []
    for piece, parts in crossed:
        new = [piece.value, *itertools.islice(numbers, int(parts.max()) - 1)]
        values = np.array([0, *new], canvas.labels.dtype)[parts]
        changes.append(Change(piece.box, parts > 1, values))
        texts.append(f"{canvas.name(piece.value)} into {', '.join(map(str, new[:-1]))} and {new[-1]}")
    if len(texts) > MAX_NAMED:
        return canvas.make_edit(f"split {len(texts)} objects, the new numbers end at {new[-1]}", join_changes(changes))
    return canvas.make_edit(f"split {'; '.join(texts)}", changes)


def _split_crossed(
    pieces: list[Piece], points: NDArray[np.float64], owners: NDArray[np.int64]
) -> list[tuple[Piece, NDArray[np.int64]]]:
    """Split the pieces that the line crosses from side to side; else the one in which most of the line lies."""
    ends = {int(owners[0]), int(owners[-1])}
    inner = [piece for n, piece in enumerate(pieces) if n not in ends]
    crossed = list(zip(inner, split_pieces(inner, points), strict=True))
    if any(parts.max() > 1 for _, parts in crossed):
        return crossed
    counts = np.bincount(owners[owners >= 0], minlength=len(pieces))
    piece = pieces[int(counts.argmax())]
    return [(piece, split_piece(piece, _extend(points, float(np.hypot(*piece.mask.shape[-2:])))))]


def _choose_clear_cuts(
    crossed: list[tuple[Piece, NDArray[np.int64]]],
) -> list[tuple[Piece, NDArray[np.int64]]]:
    """Leave out objects that are not split, and those that a line only grazes on its way through another one."""
    split = [(piece, parts) for piece, parts in crossed if parts.max() > 1]
    clear = [(piece, parts) for piece, parts in split if np.count_nonzero(parts > 1) >= GRAZED_SHARE * piece.n_voxels]
    return clear or split


def split_piece(piece: Piece, line: NDArray[np.float64]) -> NDArray[np.int64]:
    """Split a piece by a line.

    Parameters
    ----------
    piece
        On a slice or in a volume.
    line
        Points (n, 2), (y, x) in pixels of the image.

    Returns
    -------
    NDArray
        int64, of the shape of the piece's box: 0 outside, 1 the largest part, then the others by size.
    """
    return split_pieces([piece], line)[0]


def split_pieces(pieces: Sequence[Piece], line: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Split several pieces as `split_piece` does; those that lie close together at once, which is faster."""
    groups = group_near_boxes([piece.box for piece in pieces])
    return [parts for group in groups for parts in _split_group([pieces[place] for place in group], line)]


def _split_group(pieces: Sequence[Piece], line: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    box = join_boxes([piece.box for piece in pieces])
    owner = np.zeros(get_box_shape(box), np.int32)
    inner = [move_box(piece.box, box) for piece in pieces]
    for number, (piece, side) in enumerate(zip(pieces, inner, strict=True), start=1):
        owner[side][piece.mask] = number
    flat = owner.reshape(-1, *owner.shape[-2:])
    is_cut = _find_cut_links(line - [side.start for side in box[-2:]] + _OFF_CENTRES, flat.shape[1:])
    beside = _find_pixels_beside(is_cut)
    nodes, places = _number_nodes(flat, beside)
    kept, severed = _list_links(flat, nodes, places, is_cut)
    n_nodes = int(nodes.max()) + 1
    graph = sparse.coo_array((np.ones(len(kept), np.bool_), tuple(kept.T)), shape=(n_nodes, n_nodes))
    n_parts, part_of_node = csgraph.connected_components(graph, directed=False)
    inside = flat > 0
    part_of_voxel = part_of_node[nodes[inside]]
    sizes = np.bincount(part_of_voxel, minlength=n_parts)
    owner_of_part = np.zeros(n_parts, np.int64)
    owner_of_part[part_of_voxel] = flat[inside]
    ranks, severed_parts = np.zeros(n_parts, np.int64), part_of_node[severed]
    for number in range(1, len(pieces) + 1):
        own = np.flatnonzero(owner_of_part == number)
        across = severed_parts[owner_of_part[severed_parts[:, 0]] == number]
        ranks[own] = _rank_parts(sizes[own], np.searchsorted(own, across))
    found = np.where(inside, ranks[part_of_node][nodes], 0).reshape(owner.shape)
    return [np.where(piece.mask, found[side], 0) for piece, side in zip(pieces, inner, strict=True)]


def _number_nodes(
    owner: NDArray[np.int32], beside: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], ...]]:
    """Return numbers of what is connected away from the line and of each pixel beside it, and the places of these."""
    away = np.where(beside, np.int32(0), owner)
    components = find_components(away)
    nodes = np.zeros(owner.shape, np.int64)
    nodes[away > 0] = np.repeat(components.number + 1, components.stop - components.start)
    places = np.nonzero((owner > 0) & beside)
    nodes[places] = components.n + 1 + np.arange(places[0].size)
    return nodes, places


def _find_cut_links(line: NDArray[np.float64], shape: Sequence[int]) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """Return for each direction which pixels the line parts from their neighbour in it, bool (y, x)."""
    is_cut = {step: np.zeros(shape, np.bool_) for step in _NEIGHBOURS}
    for start, end in _list_steps_in(line, shape):
        low = np.maximum(np.floor(np.minimum(start, end)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(np.maximum(start, end)).astype(int) + 2, shape)
        if (low >= high).any():
            continue
        y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
        along = end - start
        side = along[0] * (x - start[1]) - along[1] * (y - start[0])
        for dy, dx in _NEIGHBOURS:
            other_side = side + along[0] * dx - along[1] * dy
            before = dy * (start[1] - x) - dx * (start[0] - y)
            after = dy * (end[1] - x) - dx * (end[0] - y)
            crosses = ((side > 0) != (other_side > 0)) & ((before > 0) != (after > 0))
            is_cut[dy, dx][low[0] : high[0], low[1] : high[1]] |= crosses
    return is_cut


def _list_steps_in(line: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Return short steps of a line that pass a box from 0 to a shape, float64 (n, 2, 2)."""
    segments = np.stack([line[:-1], line[1:]], axis=1)
    segments = segments[_pass_box(segments, shape)]
    counts = np.maximum(1, np.ceil(np.hypot(*(segments[:, 1] - segments[:, 0]).T) / STEP_PX)).astype(int)
    owner = np.repeat(np.arange(len(segments)), counts)
    place = np.arange(owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    start, way = segments[owner, 0], segments[owner, 1] - segments[owner, 0]
    share = (np.stack([place, place + 1]) / counts[owner])[:, :, np.newaxis]
    steps = np.stack([start + way * share[0], start + way * share[1]], axis=1)
    return steps[_pass_box(steps, shape)]


def _pass_box(segments: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Whether the surroundings of each segment (n, 2, 2) overlap a box from 0 to a shape."""
    low, high = segments.min(axis=1), segments.max(axis=1)
    return np.asarray(((high > -2) & (low < np.asarray(shape) + 1)).all(axis=1))


def _find_pixels_beside(is_cut: dict[tuple[int, int], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Pixels with a neighbour on the other side of the line."""
    beside: NDArray[np.bool_] = np.logical_or.reduce(list(is_cut.values()))
    for (dy, dx), cut in is_cut.items():
        y, x = np.nonzero(cut)
        inside = (y + dy < cut.shape[0]) & (x + dx >= 0) & (x + dx < cut.shape[1])
        beside[y[inside] + dy, x[inside] + dx] = True
    return beside


def _list_links(
    owner: NDArray[np.int32],
    nodes: NDArray[Any],
    places: tuple[NDArray[np.int64], ...],
    is_cut: dict[tuple[int, int], NDArray[np.bool_]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Links (n, 2) between nodes, from pixels beside the line to all their neighbours: those kept, those cut."""
    kept, severed = [], []
    depth_steps = (-1, 0, 1) if owner.shape[0] > 1 else (0,)
    for step in itertools.product(depth_steps, (-1, 0, 1), (-1, 0, 1)):
        there = tuple(place + move for place, move in zip(places, step, strict=True))
        exists = np.logical_and.reduce([(t >= 0) & (t < n) for t, n in zip(there, owner.shape, strict=True)])
        here, there = (tuple(axis[exists] for axis in ends) for ends in (places, there))
        inside = owner[there] == owner[here]
        here, there = (tuple(axis[inside] for axis in ends) for ends in (here, there))
        direction = step[1:]
        if direction in is_cut:
            cut = is_cut[direction][here[1:]]
        elif direction == (0, 0):
            cut = np.zeros(here[0].size, np.bool_)
        else:
            cut = is_cut[-direction[0], -direction[1]][there[1:]]
        links = np.stack([nodes[here], nodes[there]], axis=1).astype(np.int64)
        kept.append(links[~cut])
        severed.append(links[cut])
    return np.concatenate(kept), np.concatenate(severed)


def _rank_parts(sizes: NDArray[np.int64], severed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each part: 1 for the largest, then by size; crumbs join a neighbour across the line."""
    owner = np.arange(sizes.size)
    if sizes.sum() >= 4 * MIN_PART_PX:
        for crumb in np.flatnonzero(sizes < MIN_PART_PX):
            across = severed[severed[:, 0] == crumb, 1]
            across = across[sizes[across] >= MIN_PART_PX]
            owner[crumb] = across[sizes[across].argmax()] if across.size else sizes.argmax()
    total = np.zeros(sizes.size, np.int64)
    np.add.at(total, owner, sizes)
    rank = np.empty(sizes.size, np.int64)
    rank[np.argsort(-total, kind="stable")] = np.arange(1, sizes.size + 1)
    ranks: NDArray[np.int64] = rank[owner]
    return ranks


def _extend(line: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Extend both ends of a line straight on."""
    start, end = line[0] - line[min(1, len(line) - 1)], line[-1] - line[max(-2, -len(line))]
    if not (start.any() and end.any()):
        return line
    before, after = line[0] + start / np.hypot(*start) * length, line[-1] + end / np.hypot(*end) * length
    return np.concatenate(([before], line, [after]))
