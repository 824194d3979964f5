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
from skimage.segmentation import watershed

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import (
    Box,
    get_box_shape,
    get_plane_box,
    join_boxes,
    move_box,
    pad_box,
    read_line,
    sample_line,
)
from napari_medseg.core.editing.morphology import smooth_mask
from napari_medseg.core.editing.objects import find_free_numbers
from napari_medseg.core.editing.pieces import Piece, find_piece_in_plane
from napari_medseg.core.errors import MedSegError

PICK_PX = 10
"""A drag takes hold of a border at most this far from where it starts."""
STRETCH = 1.6
"""The radius is at least this multiple of the way of the drag, so that the outline does not fold."""
EDGE_CONTRAST = 2.0
"""There is an edge to snap to if the gradient near the outline is this much stronger than in the surroundings."""
SMOOTH_PX = 0.7
CLOSED_SHARE = 0.25
"""A line is closed if its ends are nearer to each other than this share of its length, and than `PICK_PX`."""


class BorderDrag(NamedTuple):
    """A drag from `start` to `end`, (y, x) in pixels; radius of what moves along, and how far the border snaps, px."""

    start: tuple[float, float]
    end: tuple[float, float]
    radius_px: float = 20.0
    snap_px: float = 4.0


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
    picked = _find_border(labels, drag.start)
    if picked is None:
        raise MedSegError(f"there is no border within {PICK_PX} px. Start the drag on a border.")
    value = int(labels[picked])
    way = np.subtract(drag.end, drag.start)
    radius = max(drag.radius_px, STRETCH * float(np.hypot(*way)), 2.0)
    window = _find_window(drag, radius, labels.shape)
    mask = labels[window] == value
    weight = _compute_weight(window, drag.end, radius)
    wanted = _pull(mask, way, weight)
    is_snapped = False
    if canvas.image is not None and drag.snap_px > 0:
        snapped = _snap(wanted, canvas.image[(*plane_box[:-2], *window)], weight > 0, drag.snap_px)
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
    canvas: Canvas, path: ArrayLike, value: int, plane: int | None = None, *, may_overwrite: bool | None = None
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
        first kind of line corrects the object that it begins at, and the other one makes a new object: out of others
        if they cover most of it.
    plane
        Slice of a volume; `None` for a 2-D image.
    may_overwrite
        Whether other labels are painted over; by default labels are, and numbered objects are not, unless the new one
        lies mostly in them.

    Raises
    ------
    MedSegError
        If the line lies outside the image, or nothing changes.
    """
    points, plane_box = read_line(path), get_plane_box(canvas.shape, plane)
    if not len(sample_line(points, canvas.shape)):
        raise MedSegError("the line lies outside the image. Draw it on the image.")
    around = tuple(slice(int(np.floor(axis.min())) - 1, int(np.ceil(axis.max())) + 2) for axis in points.T)
    enclosed = ndimage.binary_fill_holes(_draw_line(np.concatenate((points, points[:1])), around))
    piece = _find_drawn_piece(canvas, points, (around, enclosed), value, plane)
    if piece is None:
        number = find_free_numbers(canvas.labels)[0] if canvas.task.instances and value else value
        box, gained, lost = around, enclosed, np.zeros_like(enclosed)
    else:
        number = piece.value
        box, gained, lost = _redraw(piece, points, around)
    inner = tuple(slice(max(side.start, 0), min(side.stop, n)) for side, n in zip(box, canvas.shape[-2:], strict=True))
    crop, where = move_box(inner, box), (*plane_box[:-2], *inner)
    shape = get_box_shape(where)
    overwrites = may_overwrite
    if overwrites is None:
        is_cut_out = piece is None and bool(np.median(canvas.labels[where][gained[crop].reshape(shape)]) > 0)
        overwrites = not canvas.task.instances or is_cut_out
    gain = gained[crop].reshape(shape) & canvas.get_writable(where, number, may_overwrite=overwrites or not number)
    loss = lost[crop].reshape(shape)
    new = np.where(gain, canvas.labels.dtype.type(number), canvas.labels.dtype.type(0))
    n_new = int(np.count_nonzero(gain & (canvas.labels[where] != number)))
    message = f"outlined {canvas.name(number)}: +{format_size(canvas, n_new, where)}, −{loss.sum():,}"
    if not number:
        message = f"erased what the line encloses: {format_size(canvas, n_new, where)}"
    nothing = "the line encloses nothing that could change. Draw it around what is missing, or from border to border."
    return canvas.make_edit(message, [Change(where, gain | loss, new)], nothing)


def _find_border(
    labels: NDArray[Any], place: Sequence[float] | NDArray[np.float64], value: int | None = None
) -> tuple[int, int] | None:
    """Return the pixel at a border, of a label or of any, that is nearest to a place in a plane; `None` if far."""
    y, x = (int(np.floor(axis + 0.5)) for axis in place)
    sides = (slice(max(0, y), max(0, y + 1)), slice(max(0, x), max(0, x + 1)))
    window = pad_box(sides, (PICK_PX + 1, PICK_PX + 1), labels.shape)
    part = labels[window]
    if part.size:
        lowest, highest = (
            find(part, size=3, mode="nearest") for find in (ndimage.minimum_filter, ndimage.maximum_filter)
        )
        is_own = part > 0 if value is None else part == value
        places = np.argwhere((lowest != highest) & is_own) + [side.start for side in window]
        if len(places):
            distance = np.hypot(*(places - np.asarray(place)).T)
            if distance.min() <= PICK_PX:
                row, column = places[distance.argmin()]
                return int(row), int(column)
    return None


def _find_drawn_piece(
    canvas: Canvas, points: NDArray[np.float64], enclosed: tuple[Box, NDArray[np.bool_]], value: int, plane: int | None
) -> Piece | None:
    """Return the piece whose border a line draws; `None` for a line that only encloses something."""
    plane_box = get_plane_box(canvas.shape, plane)
    labels = canvas.labels[plane_box].reshape(canvas.shape[-2:])
    start = None if value == 0 else _find_border(labels, points[0], None if canvas.task.instances else value)
    if start is None:
        return None
    first = tuple(side.start for side in plane_box[:-2])
    piece = find_piece_in_plane(canvas.labels, (*first, *start))
    end = _find_border(labels, points[-1], piece.value)
    if end is None or not piece.contains((*first, *end)):
        return None
    length = float(np.hypot(*np.diff(points, axis=0).T).sum())
    if np.hypot(*(points[-1] - points[0])) > min(PICK_PX, CLOSED_SHARE * length):
        return piece
    box, inside = enclosed
    window = join_boxes([box, piece.box[-2:]])
    within = _place(inside, box, window) & _place(piece.mask.reshape(piece.mask.shape[-2:]), piece.box[-2:], window)
    return piece if 2 * np.count_nonzero(within) > piece.n_voxels else None


def _redraw(piece: Piece, points: NDArray[np.float64], around: Box) -> tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a box (y, x), that may reach beyond the image, and what a piece gains and loses if a line is its border.

    A line that does not reach the border is continued to its nearest place.
    """
    own = piece.box[-2:]
    joined = join_boxes([around, own])
    box = tuple(slice(side.start - 1, side.stop + 1) for side in joined)
    mask = _place(piece.mask.reshape(piece.mask.shape[-2:]), own, box)
    ends = [_find_nearest(~mask if _holds(mask, box, end) else mask, box, end) for end in (points[0], points[-1])]
    line = _draw_line(np.concatenate((ends[:1], points, ends[1:])), box)
    holes = ndimage.binary_fill_holes(mask) & ~mask
    added, n = ndimage.label(ndimage.binary_fill_holes(mask | line) & ~(mask | line | holes))
    touches = np.zeros(n + 1, np.bool_)
    touches[added[ndimage.binary_dilation(line)]] = True
    touches[0] = False
    whole = mask | line | touches[added]
    parts, n = ndimage.label(whole & ~line)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    is_cut_off = np.zeros(n + 1, np.bool_)
    is_cut_off[parts[ndimage.binary_dilation(line)]] = True
    is_cut_off[[0, 1 + int(sizes[1:].argmax()) if n else 0]] = False
    return box, whole & ~mask & ~is_cut_off[parts], mask & is_cut_off[parts]


def _draw_line(points: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Return the pixels under a line in a box that holds it."""
    drawn = np.zeros(get_box_shape(box), np.bool_)
    drawn[tuple(sample_line(points - [side.start for side in box], drawn.shape).T)] = True
    return drawn


def _place(mask: NDArray[np.bool_], own: Box, box: Box) -> NDArray[np.bool_]:
    """Return a mask of a box in a larger one."""
    placed = np.zeros(get_box_shape(box), np.bool_)
    placed[move_box(own, box)] = mask
    return placed


def _holds(mask: NDArray[np.bool_], box: Box, point: NDArray[np.float64]) -> bool:
    y, x = (int(np.floor(axis + 0.5)) - side.start for axis, side in zip(point, box, strict=True))
    return bool(mask[y, x])


def _find_nearest(mask: NDArray[np.bool_], box: Box, point: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.argwhere(mask) + [float(side.start) for side in box]
    nearest: NDArray[np.float64] = places[((places - point) ** 2).sum(axis=1).argmin()]
    return nearest


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


def _pull(mask: NDArray[np.bool_], way: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Move each pixel of a mask by its weight times the way."""
    y, x = np.nonzero(weight > 0)
    share = weight[y, x]
    pulled = mask.copy()
    source = np.stack([y - share * way[0], x - share * way[1]])
    pulled[y, x] = ndimage.map_coordinates(mask.astype(np.float32), source, order=1, mode="nearest") >= 0.5
    return pulled


def _snap(
    mask: NDArray[np.bool_], image: NDArray[Any], zone: NDArray[np.bool_], snap_px: float
) -> NDArray[np.bool_] | None:
    """Move the outline inside a zone to the nearest edge; `None` if there is no edge within the distance."""
    to_outside, to_inside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    distance = np.maximum(to_outside, to_inside) - 0.5  # from the line between the pixels
    band = zone & (distance < snap_px)
    if not band.any() or not (mask & ~band).any() or not (~mask & ~band).any():
        return None
    channels = np.nan_to_num(image.astype(np.float32).reshape(*mask.shape, -1))
    gradient = np.sqrt(
        sum(ndimage.gaussian_gradient_magnitude(channels[..., n], 1.0) ** 2 for n in range(channels.shape[-1]))
    )
    if float(np.percentile(gradient[band], 90)) <= EDGE_CONTRAST * float(np.median(gradient)) + 1e-6:
        return None
    height = gradient * np.exp(-((distance / (2 * snap_px)) ** 2))
    markers = np.where(band, 0, np.where(mask, 1, 2))
    inside = watershed(height, markers) == 1
    snapped = np.where(band, smooth_mask(inside, (1.0, 1.0), SMOOTH_PX), mask)
    return np.asarray(snapped, np.bool_)
