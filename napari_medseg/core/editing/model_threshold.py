"""Grow or shrink a label, or the piece under the cursor, along the model's probability.

The relative probability of a label is its own divided by the sum of its own and that of the strongest other class: 0.5
is the border that the model drew, also between more than two classes. A threshold below 0.5 grows, one above shrinks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas, Change, format_size
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.geometry import Box, get_box_shape, get_plane_box
from napari_medseg.core.editing.pieces import Piece, flood
from napari_medseg.core.errors import MedSegError

NEUTRAL = 0.5
_SLAB_VOXELS = 1 << 22
_NO_PROBABILITY = "the model's probabilities are not here. Predict this image first."


def threshold_piece(canvas: Canvas, piece: Piece, threshold: float) -> Edit:
    """Move the outline of a piece along the model's probability.

    Parameters
    ----------
    canvas
        With probability.
    piece
        On a slice or in the volume.
    threshold
        Relative probability in (0, 1): below 0.5 the piece grows into connected background that reaches it, above
        0.5 it loses what does not.

    Raises
    ------
    MedSegError
        If there is no probability, the threshold is 0.5, nothing changes, or nothing would be left.
    """
    _check_threshold(canvas, threshold)
    name = canvas.name(piece.value)
    if threshold > NEUTRAL:
        lost: NDArray[np.bool_] = piece.mask & ~reaches_threshold(canvas, piece.box, piece.value, threshold)
        n = int(np.count_nonzero(lost))
        if n == piece.n_voxels:
            raise MedSegError(f"nothing of {name} reaches {threshold:.2f}. Choose less, or delete the piece.")
        message = f"{name} at threshold {threshold:.2f}: −{format_size(canvas, n, piece.box)}"
        return canvas.make_edit(message, [Change(piece.box, lost, 0)], f"all of {name} reaches {threshold:.2f}.")

    def is_member(box: Box) -> NDArray[np.bool_]:
        labels = canvas.labels[box]
        reached = reaches_threshold(canvas, box, piece.value, threshold)
        return np.asarray((labels == piece.value) | ((labels == 0) & reached))

    first = np.unravel_index(int(piece.mask.argmax()), piece.mask.shape)
    seed = tuple(int(place) + side.start for place, side in zip(first, piece.box, strict=True))
    box, region = flood(canvas.shape, seed, is_member, is_planar=piece.is_planar)
    gained = region & (canvas.labels[box] == 0)
    message = f"{name} at threshold {threshold:.2f}: +{format_size(canvas, int(np.count_nonzero(gained)), box)}"
    return canvas.make_edit(
        message, [Change(box, gained, piece.value)], f"no background beside {name} reaches {threshold:.2f}."
    )


def threshold_label(canvas: Canvas, value: int, threshold: float) -> Edit:
    """Like `threshold_piece`, for all of a label in the whole image; background that reaches it is new, too."""
    return _threshold_label(canvas, tuple(slice(0, n) for n in canvas.shape), value, threshold)


def threshold_label_in_plane(canvas: Canvas, value: int, threshold: float, plane: int | None = None) -> Edit:
    """Like `threshold_label`, on one slice of a volume."""
    return _threshold_label(canvas, get_plane_box(canvas.shape, plane), value, threshold)


def reaches_threshold(canvas: Canvas, box: Box, value: int, threshold: float) -> NDArray[np.bool_]:
    """Return the voxels of a box where the relative probability of a label is at least the threshold.

    Raises
    ------
    MedSegError
        If there is no probability.
    """
    if canvas.probability is None:
        raise MedSegError(_NO_PROBABILITY)
    reached = np.empty(get_box_shape(box), np.bool_)
    rows = max(1, _SLAB_VOXELS // max(1, reached[:1].size))
    for start in range(0, len(reached), rows):  # in slabs, as the maps may be read from a file
        stop = min(start + rows, len(reached))
        part = (slice(box[0].start + start, box[0].start + stop), *box[1:])
        reached[start:stop] = _reaches_threshold(canvas, canvas.probability, part, value, threshold)
    return reached


def _reaches_threshold(
    canvas: Canvas, probability: NDArray[Any], box: Box, value: int, threshold: float
) -> NDArray[np.bool_]:
    if len(probability) <= 2:  # one number decides, and is compared as it is stored
        scale = 255 if probability.dtype == np.uint8 else 1
        own = probability[_find_class(canvas, value)][box]
        return np.asarray(own >= probability.dtype.type(np.ceil(threshold * scale) if scale > 1 else threshold))
    own, other = _get_own_and_other(probability, box, _find_class(canvas, value))
    if probability.dtype == np.uint8:  # in integers: the same inequality, times 255
        share = np.uint16(round(threshold * 255))
        return np.asarray(own.astype(np.uint16) * (np.uint16(255) - share) >= other.astype(np.uint16) * share)
    return np.asarray(own * (1 - threshold) >= other * threshold)


def get_relative_probability(canvas: Canvas, box: Box, value: int) -> NDArray[np.float32] | None:
    """Return the relative probability of a label in a box, float32 in [0, 1]; `None` if there is no probability."""
    probability = canvas.probability
    if probability is None:
        return None
    if len(probability) == 1:
        scale = 255.0 if probability.dtype == np.uint8 else 1.0
        return np.asarray(probability[0][box] / scale, np.float32)
    own, other = (part.astype(np.float32) for part in _get_own_and_other(probability, box, _find_class(canvas, value)))
    total = own + other
    relative: NDArray[np.float32] = np.divide(own, total, out=np.full(own.shape, 0.5, np.float32), where=total > 0)
    return relative


def _threshold_label(canvas: Canvas, box: Box, value: int, threshold: float) -> Edit:
    _check_threshold(canvas, threshold)
    if canvas.task.instances:
        raise MedSegError("one threshold for all objects would join them. Point at an object.")
    canvas.check_value(value)
    grows = threshold < NEUTRAL
    changed = canvas.labels[box] == (0 if grows else value)
    rows = max(1, _SLAB_VOXELS // max(1, changed[0].size))
    for start in range(0, changed.shape[0], rows):
        stop = min(start + rows, changed.shape[0])
        part = (slice(box[0].start + start, box[0].start + stop), *box[1:])
        changed[start:stop] &= reaches_threshold(canvas, part, value, threshold) == grows
    n = int(np.count_nonzero(changed))
    message = f"{canvas.name(value)} at threshold {threshold:.2f}: {'+' if grows else '−'}{format_size(canvas, n, box)}"
    return canvas.make_edit(
        message, [Change(box, changed, value if grows else 0)], f"no voxel changes at {threshold:.2f}."
    )


def _check_threshold(canvas: Canvas, threshold: float) -> None:
    if canvas.probability is None:
        raise MedSegError(_NO_PROBABILITY)
    if not 0 < threshold < 1:
        raise MedSegError(f"a threshold of {threshold:g} cannot be used; choose one between 0 and 1.")
    if threshold == NEUTRAL:
        raise MedSegError("0.5 is the border that the model drew. Choose less to grow, more to shrink.")


def _find_class(canvas: Canvas, value: int) -> int:
    n_classes = 0 if canvas.probability is None else len(canvas.probability)
    place = n_classes - 1 if canvas.task.instances or n_classes == 1 else value
    if not 0 <= place < n_classes:
        raise MedSegError(f"the model has {n_classes} classes, none for {canvas.name(value)}. Use another model.")
    return place


def _get_own_and_other(probability: NDArray[Any], box: Box, value: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Probability of a class, and of the strongest other one, in a box."""
    others = [probability[place][box] for place in range(len(probability)) if place != value]
    strongest = others[0]
    for one in others[1:]:
        strongest = np.maximum(strongest, one)
    return probability[value][box], strongest
