"""Tools for numbered objects, such as nuclei: paint a new one, extend one, join what a line touches."""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import (
    Box,
    find_tight_box,
    get_box_shape,
    get_plane_box,
    move_box,
    pad_box,
    rasterise_stroke,
    read_line,
    sample_line,
)
from napari_medseg.core.editing.pieces import Piece, find_piece, find_piece_in_plane
from napari_medseg.core.editing.runs import find_components
from napari_medseg.core.errors import MedSegError

MAX_GAP_PX = 4
"""Objects that are farther apart are not joined: they would be one number in two places."""
MAX_SLANTED_GAP_PX = 6 * MAX_GAP_PX
"""A line that crosses a gap at a small angle is longer than the gap is wide."""
MAX_NAMED = 4
"""A message that names more objects is too long for one line."""
_FULL = np.ones((3, 3), np.bool_)


def find_free_numbers(labels: NDArray[Any], n: int = 1) -> list[int]:
    """Return numbers, 1 or more, that no object uses: those after the largest one, then gaps.

    Raises
    ------
    MedSegError
        If the integer type of the labels has too few.
    """
    largest, limit = int(np.max(labels, initial=0)), min(int(np.iinfo(labels.dtype).max), 2**32 - 2)
    if limit - largest >= n:
        return list(range(largest + 1, largest + 1 + n))
    used = _list_numbers(labels)
    free = list(range(largest + 1, limit + 1))
    before = 0
    for number in used.tolist():
        free += range(before + 1, min(number, before + 1 + n - len(free)))
        before = number
        if len(free) >= n:
            return free[:n]
    raise MedSegError(
        f"there are {used.size:,} objects; {labels.dtype} can number {limit:,}. "
        "Delete some objects, or use larger integers."
    )


def paint_object(
    canvas: Canvas, path: ArrayLike, radius_px: float, plane: int | None = None, *, may_overwrite: bool = False
) -> Edit:
    """Paint a stroke: a new object if it starts on the background, else more of the object in which it starts.

    Only what is connected to the start is painted: an object in the way cuts the stroke.

    Parameters
    ----------
    canvas
        Labels of a task of instances.
    path
        Points (n, 2) of the stroke, (y, x) in pixels.
    radius_px
        Radius of the brush.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether the stroke takes pixels from other objects.

    Raises
    ------
    MedSegError
        If the task has no instances, the stroke lies outside the image, or it changes nothing.
    """
    canvas.require_instances()
    box, stroke = rasterise_stroke(path, radius_px, get_plane_box(canvas.shape, plane))
    start = sample_line(read_line(path)[:1], canvas.shape)
    if not len(start):
        raise MedSegError("the stroke starts outside the image. Start it on the image.")
    seed = (*(side.start for side in box[:-2]), int(start[0, 0]), int(start[0, 1]))
    old = int(canvas.labels[seed])
    value = old or find_free_numbers(canvas.labels)[0]
    canvas.check_value(value)
    mask = stroke & canvas.get_writable(box, value, may_overwrite=may_overwrite)
    mask &= _find_connected(
        mask, canvas.labels[box] == value, tuple(p - s.start for p, s in zip(seed, box, strict=True))
    )
    gained = int(np.count_nonzero(mask & (canvas.labels[box] != value)))
    verb = f"extended {canvas.name(value)} by" if old else f"new {canvas.name(value)}:"
    message = f"{verb} {format_size(canvas, gained, box)}"
    nothing = f"the stroke stays inside {canvas.name(value)}. Start inside it and draw outwards."
    return canvas.make_edit(message, [Change(box, mask, value)], nothing)


def join_objects(canvas: Canvas, line: ArrayLike, plane: int | None = None) -> Edit:
    """Join the objects that a line touches on a slice; the largest one gives its number.

    Parameters
    ----------
    canvas
        Labels of a task of instances.
    line
        Points (n, 2), (y, x) in pixels.
    plane
        Slice of a volume; `None` for a 2-D image.

    Raises
    ------
    MedSegError
        If the line touches fewer than two objects, or two of them are more than `MAX_GAP_PX` apart.
    """
    return _join(canvas, line, plane, in_volume=False)


def join_objects_in_volume(canvas: Canvas, line: ArrayLike, plane: int) -> Edit:
    """Like `join_objects`, for whole objects of a volume: they keep one number on all slices."""
    return _join(canvas, line, plane, in_volume=True)


def find_pieces_on_line(
    labels: NDArray[Any], line: ArrayLike, plane: int | None, *, in_volume: bool
) -> tuple[list[Piece], NDArray[np.int64], NDArray[np.int64]]:
    """Find the pieces that a line touches.

    Parameters
    ----------
    labels, line, plane
        As of `join_objects`.
    in_volume
        Whether the pieces are those of the volume.

    Returns
    -------
    list, NDArray, NDArray
        The pieces in the order of the line; the pixels under the line, int64 (pixels, 2); and for each of them the
        place of its piece in the list, -1 on the background.
    """
    plane_box = get_plane_box(labels.shape, plane)
    pixels = sample_line(line, get_box_shape(plane_box))
    first_axes = tuple(side.start for side in plane_box[:-2])
    find = find_piece if in_volume else find_piece_in_plane
    pieces: list[Piece] = []
    places_of: dict[int, list[int]] = defaultdict(list)
    owners = np.full(len(pixels), -1)
    values = labels[(*first_axes, *pixels.T)]
    goes_on = np.zeros(len(pixels), np.bool_)
    goes_on[1:] = (np.abs(np.diff(pixels, axis=0)).max(axis=1) <= 1) & (values[1:] == values[:-1])
    for place in np.flatnonzero((values > 0) & ~goes_on):
        index = (*first_axes, *pixels[place].tolist())
        known = [n for n in places_of[int(values[place])] if pieces[n].contains(index)]
        if not known:
            places_of[int(values[place])].append(len(pieces))
            pieces.append(find(labels, index))
        owners[place] = known[0] if known else len(pieces) - 1
    owners = owners[np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(pixels))))]
    return pieces, pixels, owners


def _join(canvas: Canvas, line: ArrayLike, plane: int | None, *, in_volume: bool) -> Edit:
    canvas.require_instances()
    pieces, pixels, owners = find_pieces_on_line(canvas.labels, line, plane, in_volume=in_volume)
    if len(pieces) < 2:
        touched = f"only {canvas.name(pieces[0].value)}" if pieces else "no object"
        raise MedSegError(f"the line touches {touched}. Drag from one object into another.")
    value = max(pieces, key=lambda piece: piece.n_voxels).value
    plane_box = get_plane_box(canvas.shape, plane)
    bridge = np.zeros(canvas.shape[-2:], np.bool_)
    for before, after in _list_gaps(owners):
        one, other = pieces[owners[before]], pieces[owners[after]]
        if not _touch(one, other):
            _fill_gap(canvas, bridge, canvas.labels[plane_box].reshape(bridge.shape), pixels[[before, after]])
    changes = [Change(piece.box, piece.mask, value) for piece in pieces if piece.value != value]
    if bridge.any():
        box = (*plane_box[:-2], *find_tight_box(bridge))
        changes.append(Change(box, bridge[box[-2:]].reshape(get_box_shape(box)), value))
    names = [canvas.name(value), *dict.fromkeys(f"{piece.value}" for piece in pieces if piece.value != value)]
    text = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"pieces of {names[0]}"
    text = f"{len(names)} objects" if len(names) > MAX_NAMED else text
    return canvas.make_edit(f"joined {text} into {value}", changes, f"{canvas.name(value)} is one object already.")


def _list_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    """Numbers in use, ascending; sorting millions of pixels would take a second."""
    if labels.dtype.itemsize > 2:
        used = np.unique(labels)
        return used[used > 0]
    is_used = np.zeros(int(np.iinfo(labels.dtype).max) + 1, np.bool_)
    is_used[labels.reshape(-1)] = True
    return np.flatnonzero(is_used[1:]) + 1


def _find_connected(stroke: NDArray[np.bool_], own: NDArray[np.bool_], seed: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels that hang together with the seed or with the object's own voxels."""
    components = find_components(stroke | own)
    chosen = np.zeros(components.n, np.bool_)
    chosen[components.find_at(seed)] = True
    starts = own.reshape(-1)[components.start] | own.reshape(-1)[components.stop - 1]
    chosen[components.number[starts]] = True
    return components.paint(chosen)


def _list_gaps(owners: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Places (before, after) on the line where it goes from one piece to another one."""
    on_piece = np.flatnonzero(owners >= 0)
    return [(a, b) for a, b in itertools.pairwise(on_piece.tolist()) if owners[a] != owners[b]]


def _touch(one: Piece, other: Piece) -> bool:
    """Whether two pieces are neighbours by faces, edges or corners."""
    sides = [slice(max(a.start, b.start) - 1, min(a.stop, b.stop) + 1) for a, b in zip(one.box, other.box, strict=True)]
    if any(side.start >= side.stop for side in sides):
        return False
    near_one, near_other = (_crop(piece, tuple(sides)) for piece in (one, other))
    return bool((ndimage.binary_dilation(near_one, np.ones((3,) * near_one.ndim)) & near_other).any())


def _crop(piece: Piece, box: Box) -> NDArray[np.bool_]:
    """Return a piece in a box that may reach beyond the piece."""
    common = tuple(slice(max(s.start, b.start), min(s.stop, b.stop)) for s, b in zip(piece.box, box, strict=True))
    mask = np.zeros(get_box_shape(box), np.bool_)
    mask[move_box(common, box)] = piece.mask[move_box(common, piece.box)]
    return mask


def _fill_gap(canvas: Canvas, bridge: NDArray[np.bool_], labels: NDArray[Any], ends: NDArray[np.int64]) -> None:
    """Fill the gap between the objects at two pixels (2, 2) of a plane where they are nearest, in place.

    Raises
    ------
    MedSegError
        If the gap is too wide.
    """
    apart = float(np.hypot(*(ends[1] - ends[0]))) - 1
    values = [labels[tuple(end)] for end in ends]
    low, high = ends.min(axis=0), ends.max(axis=0) + 1
    window = pad_box(tuple(map(slice, low.tolist(), high.tolist())), (MAX_GAP_PX + 2,) * 2, labels.shape)
    width = apart
    if apart <= MAX_SLANTED_GAP_PX:
        numbers = [ndimage.label(labels[window] == value, _FULL)[0] for value in values]
        sides = [one == one[tuple(end)] for one, end in zip(numbers, ends - [s.start for s in window], strict=True)]
        to_one, to_other = (ndimage.distance_transform_edt(~side) for side in sides)
        width = float(to_one[sides[1]].min()) - 1
    if width > MAX_GAP_PX:
        raise MedSegError(
            f"{canvas.name(values[0])} and {canvas.name(values[1])} are {width:.0f} px apart, "
            "too far to be one object. Extend one to the other first."
        )
    bridge[window] |= (labels[window] == 0) & (to_one + to_other <= width + 1.5)
