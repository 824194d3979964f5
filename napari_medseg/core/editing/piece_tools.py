"""Tools for the piece under the cursor: another label, delete, keep only it, fill holes, smooth, grow, shrink, fill."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import get_plane_box, move_box
from napari_medseg.core.editing.morphology import (
    count_smoothing_passes,
    dilate_ball,
    erode_ball,
    find_holes,
    smooth_mask,
)
from napari_medseg.core.editing.pieces import Piece, check_inside, flood
from napari_medseg.core.editing.runs import cut_into_slabs
from napari_medseg.core.errors import MedSegError

MAX_RADIUS_PX = 64
"""Largest distance by which a piece grows or shrinks in one step, pixels: more is a slip of the hand."""


def relabel_piece(canvas: Canvas, piece: Piece, value: int) -> Edit:
    """Give a piece another label.

    Raises
    ------
    MedSegError
        If the label is unknown, or the piece has it already.
    """
    canvas.check_value(value)
    if value == 0:
        return delete_piece(canvas, piece)
    old, new = canvas.name(piece.value), canvas.name(value)
    message = f"{old} is now {new}: {format_size(canvas, piece.n_voxels, piece.box)}"
    return canvas.make_edit(message, [Change(piece.box, piece.mask, value)], f"this piece is {new} already.")


def delete_piece(canvas: Canvas, piece: Piece) -> Edit:
    """Delete a piece; of a nucleus with one piece, the nucleus."""
    message = f"deleted {canvas.name(piece.value)}: {format_size(canvas, piece.n_voxels, piece.box)}"
    return canvas.make_edit(message, [Change(piece.box, piece.mask, 0)])


def keep_only_piece(canvas: Canvas, piece: Piece) -> Edit:
    """Delete all other pieces of the label: on the slice for a planar piece, else in the whole volume."""
    box = get_plane_box(canvas.shape, piece.plane) if piece.is_planar else tuple(slice(0, n) for n in canvas.shape)
    others = canvas.labels[box] == piece.value
    inner = others[move_box(piece.box, box)]
    inner &= ~piece.mask
    name = canvas.name(piece.value)
    n_others = int(np.count_nonzero(others))
    message = f"kept only this piece of {name}, deleted {format_size(canvas, n_others, box)} of others"
    return canvas.make_edit(message, [Change(box, others, 0)], f"{name} has no other piece.")


def fill_piece_holes(canvas: Canvas, piece: Piece) -> Edit:
    """Fill the background that a piece encloses: on the slice for a planar piece, else cavities of the volume.

    Other labels inside the piece stay.
    """
    holes = find_holes(piece.mask) & (canvas.labels[piece.box] == 0)
    name = canvas.name(piece.value)
    message = f"filled the holes of {name}: {format_size(canvas, int(np.count_nonzero(holes)), piece.box)}"
    return canvas.make_edit(message, [Change(piece.box, holes, piece.value)], f"{name} has no holes here.")


def smooth_piece(canvas: Canvas, piece: Piece, sigma_mm: float) -> Edit:
    """Smooth the outline of a piece; it grows only into the background.

    Parameters
    ----------
    canvas, piece
        The piece, on a slice or in the volume.
    sigma_mm
        Standard deviation of the smoothing, mm; the key repeats it.

    Raises
    ------
    MedSegError
        If nothing changes, or nothing would be left.
    """
    check_distance(canvas, sigma_mm)
    spacing = get_piece_spacing(canvas, piece)
    box, mask = piece.pad([n + 1 for n in count_smoothing_passes(spacing, sigma_mm)], canvas.shape)
    smooth = smooth_mask(mask, spacing, sigma_mm)
    if not smooth.any():
        raise MedSegError(
            f"{canvas.name(piece.value)} is too thin to be smoothed by {canvas.format_length(sigma_mm)}. Use less."
        )
    verb = f"smoothed {canvas.name(piece.value)} by {canvas.format_length(sigma_mm)}"
    return _make_outline_edit(canvas, piece, (box, mask, smooth), verb)


def grow_piece(canvas: Canvas, piece: Piece, radius_mm: float) -> Edit:
    """Grow a piece into the background by a distance, mm; other labels stay."""
    check_distance(canvas, radius_mm)
    spacing = get_piece_spacing(canvas, piece)
    box, mask = piece.pad([_count_voxels(radius_mm, mm) for mm in spacing], canvas.shape)
    verb = f"grew {canvas.name(piece.value)} by {canvas.format_length(radius_mm)}"
    return _make_outline_edit(canvas, piece, (box, mask, dilate_ball(mask, spacing, radius_mm)), verb)


def shrink_piece(canvas: Canvas, piece: Piece, radius_mm: float) -> Edit:
    """Shrink a piece by a distance, mm; it does not shrink away from the border of the image.

    Raises
    ------
    MedSegError
        If nothing changes, or nothing would be left.
    """
    check_distance(canvas, radius_mm)
    spacing = get_piece_spacing(canvas, piece)
    box, mask = piece.pad([1] * len(spacing), canvas.shape)
    smaller = erode_ball(mask, spacing, radius_mm)
    if not smaller.any():
        raise MedSegError(
            f"nothing of {canvas.name(piece.value)} is left if it shrinks by {canvas.format_length(radius_mm)}. "
            "Use less, or delete it."
        )
    verb = f"shrank {canvas.name(piece.value)} by {canvas.format_length(radius_mm)}"
    return _make_outline_edit(canvas, piece, (box, mask, smaller), verb)


def fill_region(canvas: Canvas, seed: tuple[int, ...], value: int, *, is_planar: bool = True) -> Edit:
    """Give a label to all that is connected to the cursor and has its value: the fill tool.

    Raises
    ------
    MedSegError
        On the background of a task of instances, and on background that reaches the border of the image: the fill
        would cover all that is not labelled.
    """
    canvas.check_value(value)
    index = check_inside(canvas.shape, seed)
    old = int(canvas.labels[index])
    if old == 0 and canvas.task.instances:
        raise MedSegError("the background is not filled: it is no object. Draw a stroke on it for a new one.")
    labels = canvas.labels
    box, mask = flood(canvas.shape, index, lambda where: labels[where] == old, is_planar=is_planar)
    axes = range(len(box) - (2 if is_planar else len(box)), len(box))
    if old == 0 and any(box[axis].start == 0 or box[axis].stop == canvas.shape[axis] for axis in axes):
        raise MedSegError(
            "the background is not filled: it is open to the border of the image. Close the outline first."
        )
    message = f"filled {format_size(canvas, int(np.count_nonzero(mask)), box)} with {canvas.name(value)}"
    return canvas.make_edit(message, [Change(box, mask, value)], f"this is {canvas.name(value)} already.")


def rank_labels(canvas: Canvas, piece: Piece) -> list[int]:
    """Return the task's other labels, the one that the model finds most likely in the piece first.

    Naming is what a model of lesions gets wrong most often, so that the second most likely label is a good offer.
    Without probabilities the labels are in the order of the task.
    """
    others = [label.value for label in canvas.task.labels if label.value != piece.value]
    if canvas.probability is None or canvas.task.instances:
        return others
    known = [value for value in others if value < len(canvas.probability)]
    mean = {value: float(canvas.probability[value][piece.box][piece.mask].mean()) for value in known}
    return sorted(others, key=lambda value: -mean.get(value, -1.0))


def get_piece_spacing(canvas: Canvas, piece: Piece) -> tuple[float, ...]:
    """Millimetres per voxel for each axis; infinite across the slice of a planar piece, so that it stays there."""
    return (math.inf, *canvas.spacing[1:]) if piece.is_planar and len(piece.box) == 3 else canvas.spacing


def check_distance(canvas: Canvas, distance_mm: float) -> None:
    """Raise `MedSegError` if a distance is not positive, or so large that it must be a slip."""
    limit = MAX_RADIUS_PX * min(canvas.spacing)
    if not 0 < distance_mm <= limit:
        distance, most = canvas.format_length(distance_mm), canvas.format_length(limit)
        raise MedSegError(f"a distance of {distance} cannot be used; choose one above 0, up to {most}.")


def _count_voxels(radius_mm: float, mm: float) -> int:
    return 0 if math.isinf(mm) else math.ceil(radius_mm / mm)


def _make_outline_edit(
    canvas: Canvas, piece: Piece, outline: tuple[tuple[slice, ...], NDArray[np.bool_], NDArray[np.bool_]], verb: str
) -> Edit:
    """Change a piece to a new outline in a box; it grows only into the background."""
    nothing = f"nothing changes: {canvas.name(piece.value)} has no room, or the step is below a voxel."

    def describe(runs: NDArray[Any]) -> str:
        lost = runs["new"] == 0
        counts = (("+", int(runs["length"][~lost].sum())), ("−", int(runs["length"][lost].sum())))
        unit = format_size(canvas, 0, piece.box).split()[-1]
        return f"{verb}: {' '.join(f'{sign}{n:,}' for sign, n in counts if n)} {unit}"

    return canvas.make_edit(describe, _list_outline_changes(canvas, piece.value, outline), nothing)


def _list_outline_changes(
    canvas: Canvas, value: int, outline: tuple[tuple[slice, ...], NDArray[np.bool_], NDArray[np.bool_]]
) -> Iterator[Change]:
    """Change a piece slab by slab, as masks of all of it would leave the processor's cache."""
    box, mask, wanted = outline
    for slab in cut_into_slabs(mask.shape):
        where = (slice(box[0].start + slab.start, box[0].start + slab.stop), *box[1:])
        changed = mask[slab] != wanted[slab]
        if changed.any():
            yield Change(where, changed & wanted[slab] & (canvas.labels[where] == 0), value)
            yield Change(where, changed & mask[slab], 0)
