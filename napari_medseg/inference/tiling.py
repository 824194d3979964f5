"""Divide a side of a plane into overlapping tiles, with weights for seamless blending."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALIGNMENT_PX = 32
"""Tiles start at multiples of it, so that the network's coarsest pixels have the same grid as in the whole plane."""

EDGE_PX = 16
"""The outermost pixels of a tile have the least context; their weight is almost 0 if a neighbour covers them, too."""

SMALLEST_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class TileSpan:
    """One piece [start, stop) of a side, with its blending weights; weights of all pieces sum to 1 at every pixel."""

    start: int
    stop: int
    weights: NDArray[np.float32]


def compute_tile_spans(length: int, longest: int, overlap: int) -> list[TileSpan]:
    """Divide a side into the smallest number of evenly spaced pieces of the same length.

    Parameters
    ----------
    length, longest
        Side of the plane and maximum length of a piece, in pixels; multiples of `ALIGNMENT_PX`.
    overlap
        Pixels that neighbours share; up to `ALIGNMENT_PX` fewer because of rounding.
    """
    if length <= longest:
        return [TileSpan(0, length, np.ones(length, np.float32))]
    count = math.ceil((length - overlap) / (longest - overlap))
    size = _round_up((length + (count - 1) * overlap) / count)
    starts = [_round_down(index * (length - size) / (count - 1)) for index in range(count)]
    ramps = [_compute_blend_weights(start, size, length, overlap) for start in starts]
    total = np.zeros(length)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + size] += ramp
    return [
        TileSpan(start, start + size, (ramp / total[start : start + size]).astype(np.float32))
        for start, ramp in zip(starts, ramps, strict=True)
    ]


def _compute_blend_weights(start: int, size: int, length: int, overlap: int) -> NDArray[np.float64]:
    """Return weights, float64 (size,): 1 inside, almost 0 at the end of an overlap; 1 at the plane's border."""
    edge = min(EDGE_PX, overlap // 4)
    positions = np.arange(size) + 0.5
    from_left = positions if start > 0 else np.full(size, float(size))
    from_right = size - positions if start + size < length else np.full(size, float(size))
    nearest = np.minimum(from_left, from_right)
    weights: NDArray[np.float64] = np.clip((nearest - edge) / max(overlap - 2 * edge, 1), SMALLEST_WEIGHT, 1.0)
    return weights


def _round_up(pixels: float) -> int:
    return math.ceil(pixels / ALIGNMENT_PX) * ALIGNMENT_PX


def _round_down(pixels: float) -> int:
    return math.floor(pixels / ALIGNMENT_PX) * ALIGNMENT_PX
