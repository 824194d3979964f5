"""Morphology of masks with distances in millimetres, without a distance transform: fast enough for a whole lung.

At the end: how a border follows a hand, an edge of the image, or a line.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_medseg.core.editing.runs import find_components

Mask = NDArray[np.bool_]
EDGE_CONTRAST = 2.0
"""There is an edge to snap to if the gradient near the outline is this much stronger than in the surroundings."""
SMOOTH_PX = 0.7
_FULL = 16383
"""Fixed-point 1.0 of the smoothing: four times it fits in 16 bits."""
_SLAB_VOXELS = 1 << 19
"""Planes are smoothed together up to this number of voxels, because they then stay in the processor's cache."""
_ROUNDING = 1e-6


def dilate_ball(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """Return all voxels whose distance to a true voxel is at most the radius; exact, within the array.

    The ball is taken apart into rows: the mask is widened along x by each half-width that occurs, and the wider masks,
    packed to bits, are shifted along y and z. Time grows with the square of the radius in voxels, not its cube.

    Parameters
    ----------
    mask
        Bool (y, x) or (z, y, x).
    spacing_mm
        Millimetres per voxel for each axis; `math.inf` for an axis along which nothing grows.
    radius_mm
        Radius of the ball, mm.
    """
    volume = mask.reshape((1,) * (3 - mask.ndim) + mask.shape)
    spacing = (math.inf,) * (3 - mask.ndim) + tuple(spacing_mm)
    shifts = _find_row_shifts(spacing, radius_mm, volume.shape)
    wide = volume.copy()
    packed_union = np.zeros((*volume.shape[:2], -(-volume.shape[2] // 8)), np.uint8)
    for half_width in range(max(shifts) + 1):
        if 0 < half_width < volume.shape[2]:
            wide[..., half_width:] |= volume[..., :-half_width]
            wide[..., :-half_width] |= volume[..., half_width:]
        if half_width in shifts:
            packed = np.packbits(wide, axis=-1)
            for z, y in shifts[half_width]:
                packed_union[_shift(z), _shift(y)] |= packed[_shift(-z), _shift(-y)]
    union = np.unpackbits(packed_union, axis=-1, count=volume.shape[2]).view(np.bool_)
    return union.reshape(mask.shape)


def erode_ball(mask: Mask, spacing_mm: Sequence[float], radius_mm: float) -> Mask:
    """Return the voxels whose distance to every false voxel exceeds the radius; the border of the array erodes nothing.

    Parameters are those of `dilate_ball`.
    """
    return ~dilate_ball(~mask, spacing_mm, radius_mm)


def smooth_mask(mask: Mask, spacing_mm: Sequence[float], sigma_mm: float) -> Mask:
    """Smooth the outline of a mask: a binomial filter, near a Gaussian, then a threshold at one half.

    A straight outline stays where it is. The border of the array is continued outwards.

    Parameters
    ----------
    mask
        Bool (y, x) or (z, y, x).
    spacing_mm
        Millimetres per voxel for each axis; `math.inf` for an axis that is not smoothed.
    sigma_mm
        Standard deviation of the filter, mm. An axis with much larger voxels is not smoothed; the finest one always is.
    """
    if mask.ndim == 3 and mask.shape[0] == 1:
        return smooth_mask(mask[0], spacing_mm[1:], sigma_mm)[np.newaxis]
    n_passes = count_smoothing_passes(spacing_mm, sigma_mm)
    smooth = np.empty_like(mask)
    slab = max(1, _SLAB_VOXELS // max(1, mask[0].size))
    for start in range(0, mask.shape[0], slab):
        stop = min(start + slab, mask.shape[0])
        low, high = max(0, start - n_passes[0]), min(mask.shape[0], stop + n_passes[0])
        soft = mask[low:high].astype(np.uint16) * np.uint16(_FULL)
        for axis, n in enumerate(n_passes):
            for _ in range(n):
                soft = _blur_once(soft, axis)
        smooth[start:stop] = soft[start - low : stop - low] > _FULL // 2
    return smooth


def count_smoothing_passes(spacing_mm: Sequence[float], sigma_mm: float) -> tuple[int, ...]:
    """Return the number of passes of (1, 2, 1) / 4 for each axis; each adds half a squared voxel to the variance."""
    finest = min(spacing_mm)
    return tuple(
        0 if math.isinf(mm) else max(round(2 * (sigma_mm / mm) ** 2), int(mm < 1.5 * finest)) for mm in spacing_mm
    )


def find_holes(mask: Mask) -> Mask:
    """Return the false voxels that the mask encloses: not connected, by faces, to the border of the array."""
    components = find_components(~mask, full=False)
    return components.paint(~components.touch_border())


def _find_row_shifts(
    spacing: Sequence[float], radius: float, shape: tuple[int, ...]
) -> dict[int, list[tuple[int, int]]]:
    """Shifts along z and y of the rows of a ball, by the half-width of the row."""
    limit = radius * radius * (1 + _ROUNDING)
    reach = [
        0 if math.isinf(mm) else min(int(radius / mm * (1 + _ROUNDING)), n - 1)
        for mm, n in zip(spacing, shape, strict=True)
    ]
    shifts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for z in range(-reach[0], reach[0] + 1):
        for y in range(-reach[1], reach[1] + 1):
            rest = limit - (z * spacing[0] if z else 0.0) ** 2 - (y * spacing[1] if y else 0.0) ** 2
            if rest >= 0:
                shifts[min(int(math.sqrt(rest) / spacing[2]), shape[2] - 1)].append((z, y))
    return shifts


def _shift(step: int) -> slice:
    """Where the voxels of an axis arrive if they move by a number of steps."""
    return slice(step, None) if step >= 0 else slice(None, step)


def _blur_once(soft: NDArray[np.uint16], axis: int) -> NDArray[np.uint16]:
    blurred = soft << np.uint16(1)
    low: list[slice] = [slice(None)] * soft.ndim
    high = low.copy()
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    blurred[tuple(high)] += soft[tuple(low)]
    blurred[tuple(low)] += soft[tuple(high)]
    for edge in (slice(0, 1), slice(-1, None)):
        low[axis] = edge
        blurred[tuple(low)] += soft[tuple(low)]
    blurred += np.uint16(2)
    blurred >>= np.uint16(2)
    return blurred


def remove_hairs(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask (y, x) without what is one pixel wide."""
    opened: NDArray[np.bool_] = ndimage.binary_opening(mask, np.ones((2, 2), np.bool_))
    return opened


def replace_border(mask: NDArray[np.bool_], line: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what a piece (y, x) gains and loses if a line from border to border is its border.

    Parameters
    ----------
    mask
        The piece; there is background around it.
    line
        Pixels of the line; its ends lie beside the border.

    Notes
    -----
    What the line encloses with the piece is added, and its smaller part beyond the line is cut off. A hole stays,
    unless the line lies in it: then the smaller part of the hole is added. The line itself belongs to the piece only
    where it bounds it, so that a cut leaves no hair outside.
    """
    holes, _ = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    around = ndimage.binary_dilation(line)
    added, n = ndimage.label(ndimage.binary_fill_holes(mask | line) & ~(mask | line | (holes > 0)))
    touches = np.zeros(n + 1, np.bool_)
    touches[added[around]] = True
    touches[0] = False
    whole = mask | touches[added]
    crossed = np.unique(holes[line & ~mask])
    if len(crossed) == 1 and crossed[0]:
        parts, sizes = _label_with_sizes((holes == crossed[0]) & ~line)
        whole |= (parts > 0) & (parts != sizes.argmax())
    parts, sizes = _label_with_sizes(whole & ~line)
    is_cut_off = np.zeros(len(sizes), np.bool_)
    is_cut_off[parts[around]] = True
    is_cut_off[[0, int(sizes.argmax())]] = False
    kept = whole & ~line & ~is_cut_off[parts]
    return (kept | (line & remove_hairs(kept | line))) & ~mask, mask & is_cut_off[parts]


def _label_with_sizes(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the numbered parts of a mask, and their sizes by number; that of the background counts as 0."""
    parts, n = ndimage.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    sizes[0] = 0
    return parts, sizes


def pull_mask(mask: NDArray[np.bool_], way: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Move each pixel of a mask by its weight times the way."""
    y, x = np.nonzero(weight > 0)
    share = weight[y, x]
    pulled = mask.copy()
    source = np.stack([y - share * way[0], x - share * way[1]])
    pulled[y, x] = ndimage.map_coordinates(mask.astype(np.float32), source, order=1, mode="nearest") >= 0.5
    return pulled


def snap_to_edge(
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
