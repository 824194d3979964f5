"""Through the slices of a volume: proposals on the neighbours of an edited slice, and interpolation of one slice.

A full-strength copy of an edit, a copy of a slice, and interpolation over wider gaps were measured to make masks worse
than the model's own, so that none of them is here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit, PlanePreview
from napari_medseg.core.editing.geometry import Box, find_tight_box, join_boxes, pad_box
from napari_medseg.core.editing.morphology import smooth_mask
from napari_medseg.core.editing.runs import find_components
from napari_medseg.core.errors import MedSegError

MAX_APART = 2
"""Slices between which a slice is interpolated are at most this far apart."""
MIN_UNCERTAINTY = 20
"""The model was unsure of a voxel if it was wrong with at least this probability, per cent."""
MIN_PIECE_PX = 6
MIN_SHARE = 0.3
"""A proposal covers at least this share of the piece that was changed on the slice before."""
NOISE_FACTOR = 3.0
"""Voxels of two slices are alike if they differ by no more than this multiple of the noise."""
RANGE_SHARE = 0.03
"""Smallest difference that makes voxels unlike, as a share of the range of grey values around the piece."""
SURROUNDINGS_PX = 12
_FULL = np.ones((3, 3), np.bool_)


class _ChangedPiece(NamedTuple):
    """Connected pixels of one slice that changed from one value to another: box (y, x) and mask."""

    box: Box
    mask: NDArray[np.bool_]
    old: int
    new: int


def propose_on_neighbours(canvas: Canvas, edit: Edit, plane: int, reach: int = 2) -> list[Edit]:
    """Propose the change of one slice on the slices beside it, piece by piece.

    A voxel is proposed only if it has the label that the piece had, the model was unsure of it, no person set it, and
    the image looks like that of the slice before.

    Parameters
    ----------
    canvas
        Labels (z, y, x) with image and uncertainty, or probability.
    edit
        The change; it may be applied already.
    plane
        The slice of the change.
    reach
        Number of slices to each side; a piece goes on to the next one only from a slice on which it was proposed.

    Returns
    -------
    list
        One edit for each piece and slice, the nearest slices first and the larger pieces first; may be empty.

    Raises
    ------
    MedSegError
        If this is no volume, or the model's uncertainty or the image is missing.
    """
    if canvas.labels.ndim != 3:
        raise MedSegError("a 2-D image has no neighbouring slices.")
    if canvas.image is None or (canvas.uncertainty is None and canvas.probability is None):
        raise MedSegError("proposals need the image and the model's uncertainty. Without a model, interpolate slices.")
    found: list[tuple[int, int, Edit]] = []
    for piece in _list_changed_pieces(edit.render_plane(plane)):
        for direction in (-1, 1):
            current, from_plane = piece, plane
            for step in range(1, reach + 1):
                to_plane = plane + direction * step
                proposed = _propose(canvas, current, from_plane, to_plane)
                if proposed is None:
                    break
                found.append((step, -int(np.count_nonzero(proposed.mask)), _make_proposal(canvas, proposed, to_plane)))
                current, from_plane = proposed, to_plane
    return [proposal for _, _, proposal in sorted(found, key=lambda one: one[:2])]


def interpolate_slice(canvas: Canvas, value: int, one_plane: int, other_plane: int) -> Edit:
    """Fill the slice between two drawn ones by the mean of their signed distances, only on the background.

    Raya and Udupa, Shape-based interpolation of multidimensional objects, 1990. Pieces that overlap are interpolated
    together; those that overlap none are left out, and the message says so.

    Parameters
    ----------
    canvas
        Labels (z, y, x).
    value
        Label that is drawn on both slices.
    one_plane, other_plane
        The two slices, in any order.

    Raises
    ------
    MedSegError
        If the slices are not two apart, one of them does not have the label, no pieces overlap, or nothing changes.
    """
    planes = _check_planes(canvas, value, one_plane, other_plane)
    low, high = (canvas.labels[plane] == value for plane in planes)
    name, middle = canvas.name(value), planes[0] + 1
    for mask, plane in ((low, planes[0]), (high, planes[1])):
        if not mask.any():
            raise MedSegError(f"slice {plane} has no {name}. Draw it there first.")
    groups, n_alone = _group_overlapping(low, high)
    if not groups:
        raise MedSegError(
            f"the pieces of {name} on slices {planes[0]} and {planes[1]} do not overlap, so what lies between is "
            f"unknown. Draw slice {middle}."
        )
    between = np.zeros(low.shape, np.bool_)
    for box, one, other in groups:
        between[box] |= _average_distances(one, other, canvas.spacing[1:])
    box = (slice(middle, middle + 1), *find_tight_box(between))
    mask = between[box[1:]][np.newaxis] & (canvas.labels[box] == 0)
    message = f"interpolated {name} on slice {middle}: {np.count_nonzero(mask):,} px"
    if n_alone:
        message += f"; left out because they overlap nothing: {n_alone} {'piece' if n_alone == 1 else 'pieces'}"
    return canvas.make_edit(
        message, [Change(box, mask, value)], f"slice {middle} has {name} or other labels there already."
    )


def _list_changed_pieces(preview: PlanePreview) -> list[_ChangedPiece]:
    changed = preview.mask & (preview.old != preview.new)
    pairs, codes = np.unique(np.stack([preview.old[changed], preview.new[changed]]), axis=1, return_inverse=True)
    numbered = np.zeros(changed.shape, np.int64)
    numbered[changed] = codes + 1
    components = find_components(numbered)
    pieces = []
    for component in np.flatnonzero(components.sizes >= MIN_PIECE_PX):
        inner = components.find_box(int(component))
        mask = components.paint(np.arange(components.n) == component)[inner]
        old, new = pairs[:, numbered[inner][mask][0] - 1]
        box = tuple(slice(i.start + o.start, i.stop + o.start) for i, o in zip(inner, preview.box, strict=True))
        pieces.append(_ChangedPiece(box, mask, int(old), int(new)))
    return pieces


def _propose(canvas: Canvas, piece: _ChangedPiece, from_plane: int, to_plane: int) -> _ChangedPiece | None:
    """Return the part of a piece that is proposed on another slice; `None` if there is too little."""
    if not 0 <= to_plane < canvas.shape[0]:
        return None
    where: Box = (slice(to_plane, to_plane + 1), *piece.box)
    allowed = (canvas.labels[where] == piece.old) & _was_unsure(canvas, where)
    if canvas.protected is not None:
        allowed &= ~canvas.protected[where]
    possible = piece.mask & allowed[0]
    if np.count_nonzero(possible) >= MIN_PIECE_PX:
        possible &= _find_alike(canvas, piece.box, from_plane, to_plane)
        possible &= smooth_mask(possible, (1.0, 1.0), 1.0)  # without frayed edges and single pixels
    smallest = max(MIN_PIECE_PX, MIN_SHARE * np.count_nonzero(piece.mask))
    return piece._replace(mask=possible) if np.count_nonzero(possible) >= smallest else None


def _was_unsure(canvas: Canvas, where: Box) -> NDArray[np.bool_]:
    if canvas.uncertainty is not None:
        return np.asarray(canvas.uncertainty[where] >= MIN_UNCERTAINTY)
    assert canvas.probability is not None  # checked by the caller
    scale = 255 if canvas.probability.dtype == np.uint8 else 1
    maps = [plane[where] for plane in canvas.probability]
    sure = (1 - MIN_UNCERTAINTY / 100) * scale
    if len(maps) == 1:
        return np.asarray((maps[0] > scale - sure) & (maps[0] < sure))
    return np.asarray(np.maximum.reduce(maps) <= sure)


def _find_alike(canvas: Canvas, box: Box, from_plane: int, to_plane: int) -> NDArray[np.bool_]:
    """Whether the image is alike on two slices, bool (y, x) of the box."""
    assert canvas.image is not None  # checked by the caller
    around = pad_box(box, (SURROUNDINGS_PX, SURROUNDINGS_PX), canvas.shape[1:])
    height, width = (side.stop - side.start for side in around)
    one, other = (
        ndimage.uniform_filter(canvas.image[plane][around].astype(np.float32).reshape(height, width, -1), (3, 3, 1))
        for plane in (from_plane, to_plane)
    )
    difference = np.abs(one - other).max(axis=-1)
    noise = 1.4826 * float(np.median(difference))
    limit = max(NOISE_FACTOR * noise, RANGE_SHARE * float(np.ptp(one)))
    inner = tuple(slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True))
    return np.asarray(difference[inner] <= limit)


def _make_proposal(canvas: Canvas, piece: _ChangedPiece, plane: int) -> Edit:
    n = int(np.count_nonzero(piece.mask))
    box = (slice(plane, plane + 1), *piece.box)
    message = f"slice {plane}, as proposed: {n:,} px from {canvas.name(piece.old)} to {canvas.name(piece.new)}"
    return canvas.make_edit(message, [Change(box, piece.mask[np.newaxis], piece.new)])


def _check_planes(canvas: Canvas, value: int, one_plane: int, other_plane: int) -> tuple[int, int]:
    canvas.check_value(value)
    low, high = sorted((one_plane, other_plane))
    if canvas.labels.ndim != 3 or not 0 <= low <= high < canvas.shape[0]:
        raise MedSegError(f"slices {low} and {high} are not in this image. Choose two slices of a volume.")
    if high - low < MAX_APART:
        raise MedSegError(f"there is no slice between {low} and {high}.")
    if high - low > MAX_APART:
        raise MedSegError(
            f"slices {low} and {high} are {high - low} apart; over more than {MAX_APART}, interpolation makes masks "
            f"worse. Draw slice {low + MAX_APART} first."
        )
    return low, high


def _group_overlapping(
    low: NDArray[np.bool_], high: NDArray[np.bool_]
) -> tuple[list[tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]], int]:
    """Group the pieces of two slices that overlap: box and both masks of each group; and count the others."""
    numbers = [ndimage.label(mask, _FULL) for mask in (low, high)]
    (below, n_below), (above, n_above) = numbers
    both = low & high
    links = (below[both] - 1, above[both] - 1 + n_below)
    n = n_below + n_above
    graph = sparse.coo_array((np.ones(links[0].size, np.bool_), links), shape=(n, n))
    _, group_of = csgraph.connected_components(graph, directed=False)
    boxes = [*ndimage.find_objects(below), *ndimage.find_objects(above)]
    groups = []
    for group in np.unique(group_of[links[0]]):
        members = np.flatnonzero(group_of == group)
        box = pad_box(join_boxes([boxes[member] for member in members]), (1, 1), low.shape)
        one = np.isin(below[box], members[members < n_below] + 1)
        other = np.isin(above[box], members[members >= n_below] - n_below + 1)
        groups.append((box, one, other))
    counts = np.bincount(group_of)
    return groups, int(np.count_nonzero(counts[group_of] == 1))


def _average_distances(
    one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Whether the mean signed distance to two outlines is inside."""
    one, other = np.pad(one, 1), np.pad(other, 1)
    total = np.zeros(one.shape)
    for mask in (one, other):
        total += ndimage.distance_transform_edt(mask, sampling=spacing_mm)
        total -= ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.asarray(total[1:-1, 1:-1] > 0)
