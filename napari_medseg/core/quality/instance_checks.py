"""Checks of numbered objects: objects in several pieces, and touching objects that were labelled as one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.quality.object_counts import count_object_pixels, count_pieces, iterate_objects

MIN_AREA_PX = 40
"""Smaller objects have too few pixels for the detection of a waist."""
WAIST_SHARE = 0.6
"""An object has a waist if it splits when it is eroded by this share of its greatest depth."""
EQUAL_SHARE = 0.75
"""Each part must have at least this share of the greatest depth: a nucleus with a small bump is one nucleus."""
MIN_MERGED_SHARE = 0.015
"""Smallest share of objects with a waist that is reported. Of correctly outlined nuclei, 0.7 % have a waist."""


def find_fragmented_objects(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers of the objects, integer (y, x) or (z, y, x), whose pixels are not connected.

    Pixels are connected by faces, edges or corners.
    """
    found: NDArray[Any] = count_object_pixels(labels)[0][count_pieces(labels) > 1]
    return found


def find_merged_objects(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers of objects with a waist, such as two touching nuclei with one number.

    None if there are as few as is normal. An object of several planes is listed once for each of them.

    Parameters
    ----------
    labels
        Numbered objects of one plane (y, x), or of several (z, y, x).
    """
    planes = labels.reshape(-1, *labels.shape[-2:])
    joined: list[Any] = []
    n_objects = 0
    for plane in planes:
        for box, inside in iterate_objects(plane):
            n_objects += 1
            if _has_waist(inside):
                joined.append(plane[box][inside][0])
    is_many = len(joined) >= max(2.0, MIN_MERGED_SHARE * n_objects)
    return np.array(joined if is_many else [], labels.dtype)


def _has_waist(inside: NDArray[np.bool_]) -> bool:
    if int(np.count_nonzero(inside)) < MIN_AREA_PX:
        return False
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))
    cores, n_cores = ndimage.label(depth > WAIST_SHARE * depth.max())
    if n_cores < 2:
        return False
    depths = ndimage.maximum(depth, cores, range(1, n_cores + 1))
    return int(np.count_nonzero(np.asarray(depths) >= EQUAL_SHARE * depth.max())) > 1
