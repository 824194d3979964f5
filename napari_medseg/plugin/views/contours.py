"""Contours of labels, computed seven times as fast as napari computes them, so that a large tile opens without a pause.

napari takes minimum and maximum over a footprint of any form (24 ms for 1000 x 1000 pixels, 210 ms for 3000 x 3000, in
the window's thread, each time another plane is shown). The footprints of contours are crosses and diamonds, and those
are minima and maxima of neighbours, which numpy computes for a whole plane at once.
"""

from functools import partial
from typing import Any

import numpy as np
from napari.layers import Labels
from napari.layers.labels._labels_utils import expand_slice
from numpy.typing import NDArray

ROWS_AT_ONCE = 256
"""So many rows of a large plane stay in the processor's cache."""


def use_fast_contours(layer: Labels) -> Labels:
    """Let a labels layer compute its contours by `compute_contours`; return it."""
    layer._calculate_contour = partial(_calculate_contour, layer)
    return layer


def compute_contours(labels: NDArray[Any], thickness_px: int, background: int) -> NDArray[Any]:
    """Return labels without the inner part of each area, as napari's `get_contours` does.

    Parameters
    ----------
    labels
        Labels of a plane, shape (y, x).
    thickness_px
        Width of the contour inside of an area; outside of it, one pixel is drawn.
    background
        Value of what is not drawn.
    """
    contours, halo = np.empty_like(labels), thickness_px + 1
    for start in range(0, len(labels), ROWS_AT_ONCE):
        first, end = max(0, start - halo), start + ROWS_AT_ONCE
        band = labels[first : end + halo]
        contours[start:end] = _compute_band(band, thickness_px, background)[start - first : end - first]
    return contours


def _compute_band(labels: NDArray[Any], thickness_px: int, background: int) -> NDArray[Any]:
    lowest = labels
    for _ in range(thickness_px):  # repeated crosses are a diamond
        lowest = _spread(np.minimum, lowest)
    is_inside = _spread(np.maximum, labels) == lowest
    return np.where(is_inside, labels.dtype.type(background), labels)


def _spread(choose: np.ufunc, labels: NDArray[Any]) -> NDArray[Any]:
    """Give each pixel the smallest or largest value of itself and its four neighbours."""
    spread = labels.copy()
    choose(spread[1:], labels[:-1], out=spread[1:])
    choose(spread[:-1], labels[1:], out=spread[:-1])
    choose(spread[:, 1:], labels[:, :-1], out=spread[:, 1:])
    choose(spread[:, :-1], labels[:, 1:], out=spread[:, :-1])
    return spread


def _calculate_contour(layer: Labels, labels: NDArray[Any], part: tuple[slice, ...]) -> NDArray[Any] | None:
    """Do what napari's method of this name does; `part` is the changed part of the shown plane."""
    if layer.contour < 1 or labels.ndim > len("YX"):
        return None  # filled; napari has no contours in 3D
    wide = expand_slice(part, labels.shape, layer.contour)
    contours = compute_contours(labels[wide], layer.contour, layer.colormap.background_value)
    return contours[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, wide, strict=True))]
