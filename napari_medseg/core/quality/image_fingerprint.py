"""Fingerprints of images: what is needed to find the same image again, shifted, cropped, mirrored, turned or resized.

A hold-out image must not be among the training images, not even as a JPEG copy. `core.quality.shared_content` compares
fingerprints.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image

SIDE_PX = 128
MAX_PLANES = 64
"""Planes of a volume that are compared, evenly spaced; all planes are compared for equality."""
MAX_POINTS = 64
GRID_CELLS = 4
N_DIRECTIONS = 8
N_FEATURES = GRID_CELLS * GRID_CELLS * N_DIRECTIONS
QUANTISATION_STEPS = 40.0

MIN_MATCHES = 9
"""Of corners: with fewer, two planes are not aligned."""
_MIN_BASE_PX = 12.0
_TOLERANCE_PX = 4.0
_AT_MOST_PX = 1.001 * _TOLERANCE_PX
_FINE_TOLERANCE_PX = 2.5
_MAX_HYPOTHESES = 120
_MAX_TURN_RADIANS = 0.35
_MIN_SCALE, _MAX_SCALE = 0.7, 1.43
_CELL_PX = 5
_BORDER_PX = 6
_MIN_DISTANCE_PX = 5
_MIN_CORNER = 1e-3
_STRENGTH_SIGMA_PX = 8.0
_MAX_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Fingerprint of an image for comparison.

    Parameters
    ----------
    digest
        SHA-256 of shape and pixel values, independent of dtype, spacing and affine.
    plane_digests
        The same for each plane of a volume; one for a single picture.
    planes
        int8 (plane, SIDE_PX, SIDE_PX): fine structure of each compared plane with normalised local contrast.
    points
        uint8 (plane, MAX_POINTS, 2): rows and columns of corners in it.
    features
        int8 (plane, MAX_POINTS, N_FEATURES): edge directions around each corner, of unit length times 127; zero if a
        plane has fewer corners. After Lowe, Distinctive image features from scale-invariant keypoints, IJCV 2004,
        without a choice of scale and direction: a copy has nearly the same.
    overviews
        int8 (plane, N_FEATURES): the same for the whole plane.
    """

    digest: str
    plane_digests: tuple[str, ...]
    planes: NDArray[np.int8]
    points: NDArray[np.uint8]
    features: NDArray[np.int8]
    overviews: NDArray[np.int8]


def compute_fingerprint(image: Image) -> Fingerprint:
    """Compute the fingerprint of an image; of a volume, from at most `MAX_PLANES` evenly spaced planes."""
    pixels = np.ascontiguousarray(image.pixels.astype("<f4"))
    grey = pixels.mean(axis=-1) if image.axes.endswith("C") else pixels
    planes = grey.reshape(-1, *grey.shape[-2:])
    each = pixels.reshape(len(planes), -1)
    chosen = np.unique(np.linspace(0, len(planes) - 1, min(len(planes), MAX_PLANES)).round().astype(int))
    parts = [_describe_plane(resize_plane(planes[index])) for index in chosen]
    structure, points, features, overviews = (np.stack(column) for column in zip(*parts, strict=True))
    return Fingerprint(
        digest=_digest(image.spatial_shape, [pixels]),
        plane_digests=tuple(_digest(planes.shape[1:], [plane]) for plane in each),
        planes=structure,
        points=points,
        features=features,
        overviews=overviews,
    )


def resize_plane(plane: NDArray[Any], side_px: int = SIDE_PX) -> NDArray[np.float64]:
    """Resize a plane (y, x) to (side_px, side_px) by area averaging."""
    return _resize_along(_resize_along(plane, 0, side_px), 1, side_px)


def align_points(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Find the affine map (3, 2) from our points to theirs that most matches agree with; `None` if too few do.

    Every two matches give a hypothesis, a similarity transformation; the best one is refined by least squares.
    """
    here, there = ours[:, 1] + 1j * ours[:, 0], theirs[:, 1] + 1j * theirs[:, 0]
    first, second = _list_pairs(len(here))
    base = here[first] - here[second]
    first, second, base = (part[np.abs(base) > _MIN_BASE_PX] for part in (first, second, base))
    ratio = (there[first] - there[second]) / base
    size = np.abs(ratio)
    is_plausible = (size > _MIN_SCALE) & (size < _MAX_SCALE) & (np.abs(np.angle(ratio)) < _MAX_TURN_RADIANS)
    first, ratio = first[is_plausible], ratio[is_plausible]
    if not len(first):
        return None
    step = -(-len(first) // _MAX_HYPOTHESES)
    first, ratio = first[::step], ratio[::step]
    shift = there[first] - ratio * here[first]
    agrees = np.abs(ratio[:, np.newaxis] * here + shift[:, np.newaxis] - there) < _TOLERANCE_PX
    agreeing = agrees[agrees.sum(axis=1).argmax()]
    extended = np.column_stack([ours, np.ones(len(ours))])
    for _ in range(2):
        if agreeing.sum() < MIN_MATCHES:
            return None
        affine, *_ = np.linalg.lstsq(extended[agreeing], theirs[agreeing], rcond=None)
        agreeing = np.linalg.norm(extended @ affine - theirs, axis=1) < _FINE_TOLERANCE_PX
    return affine if agreeing.sum() >= MIN_MATCHES else None


def may_align(ours: NDArray[np.float32], theirs: NDArray[np.float32], is_match: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for many planes at once whether `align_points` gets past its hypotheses, which most planes do not.

    Parameters
    ----------
    ours
        Our points, (point, 2).
    theirs
        The point of each plane that matches each of ours, (plane, point, 2).
    is_match
        Whether that is a match, (plane, point).
    """
    here, there = ours[:, 1] + 1j * ours[:, 0], theirs[..., 1] + 1j * theirs[..., 0]
    first, second = _list_pairs(len(here))
    base = here[first] - here[second]
    is_long = np.abs(base) > _MIN_BASE_PX
    first, second, base = first[is_long], second[is_long], base[is_long]
    plane, pair = np.nonzero(is_match[:, first] & is_match[:, second])
    ratio = (there[plane, first[pair]] - there[plane, second[pair]]) / base[pair]
    size = np.abs(ratio)
    is_plausible = (size > _MIN_SCALE) & (size < _MAX_SCALE) & (np.abs(np.angle(ratio)) < _MAX_TURN_RADIANS)
    plane, pair, ratio = plane[is_plausible], pair[is_plausible], ratio[is_plausible]
    numbers = np.bincount(plane, minlength=len(theirs))
    rank = np.arange(len(plane)) - (np.cumsum(numbers) - numbers)[plane]
    is_tried = rank % np.maximum(1, -(-numbers // _MAX_HYPOTHESES))[plane] == 0
    plane, pair, ratio = plane[is_tried], pair[is_tried], ratio[is_tried]
    shift = there[plane, first[pair]] - ratio * here[first[pair]]
    far = ratio[:, np.newaxis] * here + shift[:, np.newaxis] - there[plane]
    n_agreeing = ((far.real**2 + far.imag**2 < _AT_MOST_PX**2) & is_match[plane]).sum(axis=1)
    may = np.zeros(len(theirs), bool)
    may[plane[n_agreeing >= MIN_MATCHES]] = True
    return may


@cache
def _list_pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of `n` matches, which are at most `MAX_POINTS`: making them took half of the time."""
    first, second = np.triu_indices(n, 1)
    return first, second


def _digest(shape: Sequence[int], arrays: Sequence[NDArray[np.float32]]) -> str:
    digest = hashlib.sha256(f"{tuple(shape)}".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _describe_plane(
    small: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.uint8], NDArray[np.int8], NDArray[np.int8]]:
    """Return the fine structure of a resized plane, its corners, their features, and the features of the plane."""
    points, features = np.zeros((MAX_POINTS, 2), np.uint8), np.zeros((MAX_POINTS, N_FEATURES), np.int8)
    smooth = ndimage.gaussian_filter(small, 0.8)
    by_row, by_column = np.gradient(smooth)
    steepness = np.hypot(by_row, by_column)
    if not steepness.max() > 0:
        return np.zeros(small.shape, np.int8), points, features, np.zeros(N_FEATURES, np.int8)
    # Each edge relative to those around it: a window, a pale stain or an added black border change nothing elsewhere.
    around = ndimage.gaussian_filter(steepness, _STRENGTH_SIGMA_PX)
    strength = around + 0.1 * np.median(steepness) + 1e-3 * steepness.max()
    by_row, by_column = by_row / strength, by_column / strength
    corners = _find_corners(by_row, by_column)
    directions = _spread_directions(by_row, by_column)
    points[: len(corners)] = corners
    features[: len(corners)] = _quantise(_sample_features(directions, corners))
    side = len(small) // GRID_CELLS
    overview = directions.reshape(N_DIRECTIONS, GRID_CELLS, side, GRID_CELLS, side).mean(axis=(2, 4))
    return _extract_fine_structure(small), points, features, _quantise(overview.transpose(1, 2, 0).reshape(1, -1))[0]


def _find_corners(by_row: NDArray[np.float64], by_column: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return rows and columns (n, 2) of the strongest corners (Harris and Stephens, Alvey Vision Conference 1988)."""
    rows, columns, both = (
        ndimage.gaussian_filter(product, 1.5)
        for product in (by_row * by_row, by_column * by_column, by_row * by_column)
    )
    response = (rows * columns - both * both) / (rows + columns + 1e-9)
    is_peak = (ndimage.maximum_filter(response, _MIN_DISTANCE_PX) == response) & (response > _MIN_CORNER)
    is_peak[:_BORDER_PX] = is_peak[-_BORDER_PX:] = is_peak[:, :_BORDER_PX] = is_peak[:, -_BORDER_PX:] = False
    peaks = np.argwhere(is_peak)
    strongest = np.argsort(-response[tuple(peaks.T)], kind="stable")[:MAX_POINTS]
    return peaks[strongest]


def _spread_directions(by_row: NDArray[np.float64], by_column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how strong the edges of each direction are around each pixel, (direction, y, x)."""
    angle, steepness = np.arctan2(by_row, by_column), np.hypot(by_row, by_column)
    turned = (angle - turn for turn in np.arange(N_DIRECTIONS) * 2 * np.pi / N_DIRECTIONS)
    return np.stack(
        [ndimage.gaussian_filter(np.maximum(np.cos(turn), 0) ** 3 * steepness, _CELL_PX / 2) for turn in turned]
    )


def _sample_features(directions: NDArray[np.float64], corners: NDArray[np.intp]) -> NDArray[np.float64]:
    offsets = (np.arange(GRID_CELLS) - (GRID_CELLS - 1) / 2) * _CELL_PX
    down, across = (grid.ravel() for grid in np.meshgrid(offsets, offsets, indexing="ij"))
    limit = directions.shape[1] - 1
    rows = np.rint(corners[:, :1] + down).clip(0, limit).astype(int)
    columns = np.rint(corners[:, 1:] + across).clip(0, limit).astype(int)
    return directions[:, rows, columns].transpose(1, 2, 0).reshape(len(corners), N_FEATURES)


def _quantise(features: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return features of unit length, without single dominating edges, times 127."""
    even = np.minimum(_normalise(features), _MAX_SHARE)
    steps: NDArray[np.int8] = np.rint(_normalise(even) * 127).astype(np.int8)
    return steps


def _normalise(features: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(features, length, out=np.zeros_like(features), where=length > 0)
    return unit


def _extract_fine_structure(small: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return edges and texture at the scale of one pixel, divided by their local strength: no effect of the window."""
    low, high = np.percentile(small, (1, 99))
    small = np.clip(small, low, high) if high > low else small
    fine = ndimage.gaussian_filter(small - ndimage.gaussian_filter(small, 2.0), 0.5)
    spread = float(np.ptp(small))
    strength = np.sqrt(ndimage.gaussian_filter(fine * fine, 4.0)) + 1e-3 * spread + 1e-6 * (spread == 0)
    even = np.clip(fine / strength, -3.0, 3.0)
    steps: NDArray[np.int8] = np.rint((even - even.mean()) * QUANTISATION_STEPS).clip(-127, 127).astype(np.int8)
    return steps


def _resize_along(plane: NDArray[Any], axis: int, side_px: int) -> NDArray[np.float64]:
    """Average over `side_px` equal parts of an axis; fractions of pixels are included."""
    length = plane.shape[axis]
    moved = np.moveaxis(plane, axis, 0)
    sums = np.concatenate([np.zeros((1, moved.shape[1])), np.cumsum(moved, axis=0, dtype=np.float64)])
    edges = np.linspace(0, length, side_px + 1)
    below = np.floor(edges).astype(int)
    share = (edges - below)[:, np.newaxis]
    at_edges = sums[below] * (1 - share) + sums[np.minimum(below + 1, length)] * share
    smaller: NDArray[np.float64] = np.moveaxis(np.diff(at_edges, axis=0) * (side_px / length), 0, axis)
    return smaller
