"""Tools that move a border: drag it, and it snaps to the nearest edge of the image; or draw where it should be.

Drag: the outline follows the mouse like rubber: fully at the pointer, not at all beyond the radius. Then a watershed on
the gradient, between what is surely inside and surely outside, moves it to the edge; the gradient counts less with the
distance from the dragged outline (Roerdink and Meijster, The watershed transform, 2000).

Draw: what the line encloses together with the piece is added, and what it cuts off is removed, so that one line mends
what is too large and too small along it. Any other line is closed, and what is inside gets the label.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import (
    Box,
    draw_line,
    find_nearest,
    get_box_shape,
    get_plane_box,
    join_boxes,
    move_box,
    pad_box,
    place_mask,
    read_line,
    sample_line,
)
from napari_medseg.core.editing.morphology import pull_mask, remove_hairs, replace_border, snap_to_edge
from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.core.editing.pieces import Piece, find_border, find_piece_in_plane
from napari_medseg.core.errors import MedSegError

PICK_PX = 10.0
"""A drag takes hold of a border at most this far from where it starts, in pixels of the screen."""
MIN_PICK_PX = 2.0
"""The same in pixels of the image, where it is zoomed in."""
STRETCH = 1.6
"""The radius is at least this multiple of the way of the drag, so that the outline does not fold."""
CLOSED_SHARE = 0.25
"""A line is closed if its ends are nearer to each other than this share of its length, and than the pick radius."""
OTHER_DEPTH = 0.5
"""What a line leaves out of an object is another one if it is more than this share as deep as what is inside."""
NOTHING = "the line encloses nothing that could change. Draw it around what is missing, or from border to border."


class BorderDrag(NamedTuple):
    """A drag from `start` to `end`, (y, x); radius of what moves along, how far it snaps and how near it starts, px."""

    start: tuple[float, float]
    end: tuple[float, float]
    radius_px: float = 20.0
    snap_px: float = 4.0
    pick_px: float = PICK_PX


def compute_pick_px(zoom: float) -> float:
    """Return how far from a border a drag may start, px of the image, at so many pixels of the screen per pixel."""
    return max(PICK_PX / zoom, MIN_PICK_PX)


def drag_border(canvas: Canvas, drag: BorderDrag, plane: int | None = None, *, may_overwrite: bool = False) -> Edit:
    """Move the border nearest to the start of the drag.

    Parameters
    ----------
    canvas
        With an image to snap; without one the border stays where it was dragged.
    drag
        From where to where.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether the label grows over others.

    Raises
    ------
    MedSegError
        If there is no border near the start, or nothing changes.
    """
    plane_box = get_plane_box(canvas.shape, plane)
    labels = canvas.labels[plane_box].reshape(canvas.shape[-2:])
    places, _ = find_border(labels, drag.start, drag.pick_px)
    if not len(places):
        raise MedSegError(f"there is no border within {drag.pick_px:.0f} px. Start the drag on a border.")
    value = int(labels[tuple(places[0])])
    way = np.subtract(drag.end, drag.start)
    radius = max(drag.radius_px, STRETCH * float(np.hypot(*way)), 2.0)
    window = _find_window(drag, radius, labels.shape)
    mask = labels[window] == value
    weight = _compute_weight(window, drag.end, radius)
    wanted = pull_mask(mask, way, weight)
    is_snapped = False
    if canvas.image is not None and drag.snap_px > 0:
        snapped = snap_to_edge(wanted, canvas.image[(*plane_box[:-2], *window)], weight > 0, drag.snap_px)
        is_snapped, wanted = snapped is not None, wanted if snapped is None else snapped
    box = (*plane_box[:-2], *window)
    shape = get_box_shape(box)
    gained = (wanted & ~mask).reshape(shape) & canvas.get_writable(box, value, may_overwrite=may_overwrite)
    lost = (mask & ~wanted).reshape(shape)
    new = np.where(gained, canvas.labels.dtype.type(value), canvas.labels.dtype.type(0))
    where = "onto the nearest edge" if is_snapped else "(no edge near it)"
    message = f"moved the border of {canvas.name(value)} {where}: +{gained.sum():,} −{lost.sum():,} px"
    nothing = f"the border of {canvas.name(value)} stays: it cannot move there. Drag farther, or into the background."
    return canvas.make_edit(message, [Change(box, gained | lost, new)], nothing)


def draw_outline(
    canvas: Canvas,
    path: ArrayLike,
    value: int,
    plane: int | None = None,
    *,
    may_overwrite: bool | None = None,
    pick_px: float = PICK_PX,
) -> Edit:
    """Draw the right border: along a stretch of a piece, or around all of it.

    Parameters
    ----------
    canvas
        Labels.
    path
        Points (n, 2) of the line, (y, x) in pixels.
    value
        The selected label: a line from border to border of a piece of it, or around most of such a piece, is its new
        border. Any other line is closed, and what is inside gets the label; 0 erases it. Among numbered objects the
        first kind of line corrects the object that it begins and ends at, or goes around; any other one makes a new
        object, out of another one if that covers most of it.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether other labels are painted over; by default labels are, and numbered objects are not, but for the one
        that a new one is made of.
    pick_px
        How far from a border the line may begin and end.

    Raises
    ------
    MedSegError
        If the line lies outside the image, has only one end at a border, or nothing changes.
    """
    points, plane_box = read_line(path), get_plane_box(canvas.shape, plane)
    if not len(sample_line(points, canvas.shape)):
        raise MedSegError("the line lies outside the image. Draw it on the image.")
    box = tuple(slice(int(np.floor(axis.min())) - 1, int(np.ceil(axis.max())) + 2) for axis in points.T)
    closed = draw_line(np.concatenate((points, points[:1])), box)
    enclosed = ndimage.binary_fill_holes(closed)
    gained = remove_hairs(enclosed) if (enclosed & ~closed).any() else np.zeros_like(enclosed)
    piece, is_open = _find_drawn_piece(canvas, points, (box, gained), value, plane, pick_px)
    lost = np.zeros_like(gained)
    if piece is not None:
        number = piece.value
        box, gained, lost = _redraw(piece, points, (box, gained), pick_px, is_open=is_open)
    else:
        number = find_free_numbers(canvas.labels)[0] if canvas.task.instances and value else value
    inner = tuple(slice(max(side.start, 0), min(side.stop, n)) for side, n in zip(box, canvas.shape[-2:], strict=True))
    crop, where = move_box(inner, box), (*plane_box[:-2], *inner)
    gain, loss = (mask[crop].reshape(get_box_shape(where)) for mask in (gained, lost))
    overwrites = not canvas.task.instances if may_overwrite is None else may_overwrite
    writable = canvas.get_writable(where, number, may_overwrite=overwrites or not number)
    labels = canvas.labels[where]
    if piece is None and may_overwrite is None and gain.any():
        values, counts = np.unique(labels[gain], return_counts=True)
        writable |= labels == values[counts.argmax()]
    return _make_outline_edit(canvas, where, number, gain & writable, loss)


def _make_outline_edit(canvas: Canvas, where: Box, number: int, gain: NDArray[Any], loss: NDArray[Any]) -> Edit:
    new = np.where(gain, canvas.labels.dtype.type(number), canvas.labels.dtype.type(0))
    size = format_size(canvas, int(np.count_nonzero(gain & (canvas.labels[where] != number))), where)
    message = f"outlined {canvas.name(number)}: +{size}, −{loss.sum():,}"
    message = message if number else f"erased what the line encloses: {size}"
    return canvas.make_edit(message, [Change(where, gain | loss, new)], NOTHING)


def _find_drawn_piece(
    canvas: Canvas,
    points: NDArray[np.float64],
    enclosed: tuple[Box, NDArray[np.bool_]],
    value: int,
    plane: int | None,
    pick_px: float,
) -> tuple[Piece | None, bool]:
    """Return the piece whose border a line draws, and whether the line is open.

    `None` for a line that only encloses something.
    """
    gap, way = float(np.hypot(*(points[-1] - points[0]))), float(np.hypot(*np.diff(points, axis=0).T).sum())
    is_open = gap > min(pick_px, CLOSED_SHARE * way)
    if value == 0:
        return None, is_open
    plane_box = get_plane_box(canvas.shape, plane)
    labels = canvas.labels[plane_box].reshape(canvas.shape[-2:])
    wanted = None if canvas.task.instances else value
    first = tuple(side.start for side in plane_box[:-2])
    if not is_open:
        seed = _find_enclosed_pixel(labels, enclosed, wanted)
        flat = None if seed is None else _find_flat_piece(canvas, (*first, *seed))
        return (flat if flat is not None and _is_new_border(flat, enclosed, canvas) else None), is_open
    (starts, from_start), (ends, from_end) = (find_border(labels, points[n], pick_px, wanted) for n in (0, -1))
    found: list[tuple[float, Piece]] = []
    left = starts
    while len(left) and len(ends):
        flat = _find_flat_piece(canvas, (*first, *left[0]))
        own_start, own_end = (np.array([flat.contains(place) for place in places]) for places in (starts, ends))
        if own_end.any():
            found.append((float(from_start[own_start].min() + from_end[own_end].min()), flat))
        left = np.array([place for place in left if not flat.contains(place)])
    if not found and (len(starts) or len(ends)) and gap > max(pick_px, CLOSED_SHARE * way):
        touched = canvas.name(int(labels[tuple((starts if len(starts) else ends)[0])]))
        raise MedSegError(
            f"only one end of the line is at the border of {touched}. Draw from border to border, or close the line."
        )
    return min(found, key=lambda pair: pair[0])[1] if found else None, is_open


def _find_flat_piece(canvas: Canvas, seed: Sequence[int]) -> Piece:
    piece = find_piece_in_plane(canvas.labels, seed)
    return Piece(piece.value, piece.box[-2:], piece.mask.reshape(piece.mask.shape[-2:]), is_planar=True)


def _find_enclosed_pixel(
    labels: NDArray[Any], enclosed: tuple[Box, NDArray[np.bool_]], value: int | None
) -> NDArray[np.int64] | None:
    """Return a pixel of the piece, of a label or of any, of which a line encloses most pixels; `None` if of none."""
    inner = pad_box(enclosed[0], (0, 0), labels.shape)
    part = np.where(enclosed[1][move_box(inner, enclosed[0])], labels[inner], 0)
    values, counts = np.unique(part[part > 0], return_counts=True)
    if not len(values) or (value is not None and value not in values):
        return None
    parts, _ = ndimage.label(part == (values[counts.argmax()] if value is None else value), np.ones((3, 3)))
    places = np.argwhere(parts == 1 + np.bincount(parts.ravel())[1:].argmax())
    pixel: NDArray[np.int64] = places[0] + [side.start for side in inner]
    return pixel


def _split(piece: Piece, enclosed: tuple[Box, NDArray[np.bool_]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what a line encloses of a piece, and what it leaves out."""
    box = join_boxes([enclosed[0], piece.box])
    inside, mask = place_mask(enclosed[1], enclosed[0], box), place_mask(piece.mask, piece.box, box)
    return mask & inside, mask & ~inside


def _is_new_border(piece: Piece, enclosed: tuple[Box, NDArray[np.bool_]], canvas: Canvas) -> bool:
    """Whether a closed line is the border of a piece: most is inside, and what is not is no object of its own."""
    inside, outside = _split(piece, enclosed)
    if 2 * np.count_nonzero(inside) <= piece.n_voxels:
        return False
    if not canvas.task.instances:
        return True
    depth, other_depth = (ndimage.distance_transform_edt(np.pad(mask, 1)).max() for mask in (inside, outside))
    return bool(other_depth <= max(OTHER_DEPTH * depth, 1.0))


def _redraw(
    piece: Piece, points: NDArray[np.float64], enclosed: tuple[Box, NDArray[np.bool_]], pick_px: float, *, is_open: bool
) -> tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a box (y, x), that may reach beyond the image, and what a piece gains and loses if a line is its border.

    An open line that does not reach the border is continued to its nearest place, and what reaches beyond is left out.
    """
    joined = join_boxes([enclosed[0], piece.box])
    box = tuple(slice(side.start - 1, side.stop + 1) for side in joined)
    mask = place_mask(piece.mask, piece.box, box)
    if not is_open:
        inside = place_mask(enclosed[1], enclosed[0], box)
        return box, inside & ~ndimage.binary_fill_holes(mask), mask & ~inside
    pixels = sample_line(points - [side.start for side in box], mask.shape)
    is_inside = np.flatnonzero(mask[tuple(pixels.T)])
    n_most = min(pick_px, len(pixels) / 3)
    start = is_inside[0] if len(is_inside) and is_inside[0] <= n_most else 0
    stop = is_inside[-1] + 1 if len(is_inside) and len(pixels) - 1 - is_inside[-1] <= n_most else len(pixels)
    pixels = pixels[start:stop]
    reach = int(pick_px) + 3
    ends = [find_nearest(~mask if mask[tuple(end)] else mask, end, reach) for end in (pixels[0], pixels[-1])]
    gained, lost = replace_border(
        mask, draw_line(np.stack((ends[0], *pixels, ends[1])), tuple(map(slice, (0, 0), mask.shape)))
    )
    return box, gained, lost


def _find_window(drag: BorderDrag, radius: float, shape: tuple[int, ...]) -> Box:
    margin = int(radius + np.hypot(*np.subtract(drag.end, drag.start)) + drag.snap_px) + 3
    centre = tuple(min(max(int(place), 0), length - 1) for place, length in zip(drag.end, shape, strict=True))
    return pad_box(tuple(slice(place, place + 1) for place in centre), (margin, margin), shape)


def _compute_weight(window: Box, centre: tuple[float, float], radius: float) -> NDArray[np.float32]:
    """How much each pixel of a window follows the drag: 1 at its end, 0 from the radius on, float32."""
    y, x = np.ogrid[window]
    squared = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / radius**2
    weight: NDArray[np.float32] = (np.clip(1 - squared, 0, None) ** 2).astype(np.float32)
    return weight
