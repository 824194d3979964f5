"""Boxes of voxels, and the user's lines and strokes on the voxel grid."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medseg.core.editing.morphology import dilate_ball
from napari_medseg.core.errors import MedSegError

Box = tuple[slice, ...]
"""One slice with start and stop for each axis."""
SAMPLES_PER_PX = 2
MAX_SPARSENESS = 4
"""Boxes are near each other if the box around them is at most so many times as large as they are."""


def pad_box(box: Box, margins: Sequence[int], shape: Sequence[int]) -> Box:
    """Extend a box by a margin per axis, as far as the image goes."""
    return tuple(
        slice(max(0, side.start - margin), min(length, side.stop + margin))
        for side, margin, length in zip(box, margins, shape, strict=True)
    )


def move_box(box: Box, origin: Box) -> Box:
    """Return a box relative to the start of another one."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, origin, strict=True))


def join_boxes(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all boxes."""
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*boxes, strict=True))


def group_near_boxes(boxes: Sequence[Box]) -> list[list[int]]:
    """Group boxes that follow each other and lie close together: many small arrays take longer than one larger one.

    Returns the places of the boxes of each group, in order. The box around a group is at most `MAX_SPARSENESS` times as
    large as its boxes.
    """
    groups: list[list[int]] = []
    around: Box = ()
    size = 0
    for place, box in enumerate(boxes):
        joined = join_boxes([around, box]) if groups else box
        own = math.prod(get_box_shape(box))
        if groups and math.prod(get_box_shape(joined)) <= MAX_SPARSENESS * (size + own):
            groups[-1].append(place)
            around, size = joined, size + own
        else:
            groups.append([place])
            around, size = box, own
    return groups


def get_box_shape(box: Box) -> tuple[int, ...]:
    """Return the number of voxels along each axis."""
    return tuple(side.stop - side.start for side in box)


def find_tight_box(mask: NDArray[np.bool_]) -> Box:
    """Return the smallest box with all true voxels of a mask that has at least one."""
    sides = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        sides.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(sides)


def get_plane_box(shape: Sequence[int], plane: int | None) -> Box:
    """Return the box of one plane of a volume, or of the whole 2-D image.

    Raises
    ------
    MedSegError
        If a volume is given without a plane, or the plane is not in it.
    """
    whole = tuple(slice(0, length) for length in shape)
    if len(shape) == 2:
        return whole
    if plane is None or not 0 <= plane < shape[0]:
        raise MedSegError(f"slice {plane} is not in this volume; choose one of 0 to {shape[0] - 1}.")
    return (slice(plane, plane + 1), *whole[1:])


def sample_line(line: ArrayLike, shape: Sequence[int]) -> NDArray[np.int64]:
    """Return the pixels under a line inside a plane, in order, without direct repeats.

    Parameters
    ----------
    line
        Points (n, 2), (y, x) in pixels.
    shape
        Height and width of the plane.

    Returns
    -------
    NDArray
        int64 (pixels, 2); empty if the line lies outside.
    """
    points = read_line(line)
    parts = [points[:1]]
    for start, end in itertools.pairwise(points):
        n_steps = int(np.ceil(np.abs(end - start).max() * SAMPLES_PER_PX))
        parts.append(start + (end - start) * (np.arange(1, n_steps + 1) / max(1, n_steps))[:, np.newaxis])
    pixels = np.floor(np.concatenate(parts) + 0.5).astype(np.int64)
    pixels = pixels[((pixels >= 0) & (pixels < np.asarray(shape[-2:]))).all(axis=1)]
    if not len(pixels):
        return pixels
    return pixels[np.concatenate(([True], (pixels[1:] != pixels[:-1]).any(axis=1)))]


def draw_line(points: NDArray[np.float64] | NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    """Return the pixels under a line (n, 2) in a box (y, x)."""
    drawn = np.zeros(get_box_shape(box), np.bool_)
    drawn[tuple(sample_line(points - np.array([side.start for side in box]), drawn.shape).T)] = True
    return drawn


def place_mask(mask: NDArray[np.bool_], own: Box, box: Box) -> NDArray[np.bool_]:
    """Return the mask of a box in a larger one."""
    placed = np.zeros(get_box_shape(box), np.bool_)
    placed[move_box(own, box)] = mask
    return placed


def find_nearest(mask: NDArray[np.bool_], pixel: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Return the true pixel (y, x) of a mask that is nearest to another one; there is one within this reach."""
    window = pad_box(tuple(slice(int(at), int(at) + 1) for at in pixel), (reach, reach), mask.shape)
    places = np.argwhere(mask[window]) + [side.start for side in window]
    nearest: NDArray[np.int64] = places[((places - pixel) ** 2).sum(axis=1).argmin()]
    return nearest


def read_line(line: ArrayLike) -> NDArray[np.float64]:
    """Return the points of a line as float64 (n, 2).

    Raises
    ------
    MedSegError
        If there is no point, or the points are not pairs of numbers.
    """
    points = np.asarray(line, np.float64)
    if points.ndim != 2 or points.shape[0] < 1 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise MedSegError(f"a line needs points (y, x); these have shape {points.shape}. Draw it again.")
    return points


def rasterise_stroke(path: ArrayLike, radius_px: float, plane_box: Box) -> tuple[Box, NDArray[np.bool_]]:
    """Return the box and the pixels that a round brush covers along a path in a plane.

    Parameters
    ----------
    path
        Points (n, 2), (y, x) in pixels.
    radius_px
        Radius of the brush; below 1 it covers the pixels under the path.
    plane_box
        Box of the plane in the labels.

    Raises
    ------
    MedSegError
        If the path lies outside the image.
    """
    height, width = get_box_shape(plane_box)[-2:]
    margin = int(np.floor(radius_px))
    # the plane is larger by the margin on all sides: a brush can reach the image from outside
    pixels = sample_line(read_line(path) + margin, (height + 2 * margin, width + 2 * margin)) - margin
    if not len(pixels):
        raise MedSegError("the stroke lies outside the image. Draw it on the image.")
    low, high = pixels.min(axis=0) - margin, pixels.max(axis=0) + margin + 1
    mask = np.zeros(high - low, np.bool_)
    mask[tuple((pixels - low).T)] = True
    mask = dilate_ball(mask, (1.0, 1.0), radius_px)
    start, stop = np.maximum(low, 0), np.minimum(high, (height, width))
    if (start >= stop).any():
        raise MedSegError("the stroke lies outside the image. Draw it on the image.")
    inside = mask[start[0] - low[0] : stop[0] - low[0], start[1] - low[1] : stop[1] - low[1]]
    sides = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    box = (*plane_box[:-2], *sides)
    return box, inside.reshape(get_box_shape(box))
