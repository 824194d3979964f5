"""Checks of numbered objects: objects in several pieces, and touching objects that were labelled as one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.quality.object_counts import count_pieces, iterate_objects

MIN_AREA_PX = 40
"""Smaller objects have too few pixels for the detection of a waist."""
WAIST_SHARE = 0.6
"""An object has a waist if it splits when it is eroded by this share of its greatest depth."""
EQUAL_SHARE = 0.75
"""Each part must have at least this share of the greatest depth: a nucleus with a small bump is one nucleus."""
MIN_MERGED_SHARE = 0.015
"""Smallest share of objects with a waist that is reported. Of correctly outlined nuclei, 0.7 % have a waist."""


def count_fragmented_objects(labels: NDArray[Any]) -> int:
    """Count objects, integer (y, x) or (z, y, x), whose pixels are not connected (by faces, edges or corners)."""
    return int(np.count_nonzero(count_pieces(labels) > 1))


def count_merged_objects(labels: NDArray[Any]) -> int:
    """Count objects with a waist, such as two touching nuclei with one number; 0 if there are as few as is normal.

    Parameters
    ----------
    labels
        Numbered objects of one plane (y, x), or of several (z, y, x).
    """
    planes = labels.reshape(-1, *labels.shape[-2:])
    n_joined = n_objects = 0
    for plane in planes:
        for _, inside in iterate_objects(plane):
            n_objects += 1
            n_joined += _has_waist(inside)
    return n_joined if n_joined >= max(2.0, MIN_MERGED_SHARE * n_objects) else 0


def _has_waist(inside: NDArray[np.bool_]) -> bool:
    if int(np.count_nonzero(inside)) < MIN_AREA_PX:
        return False
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))
    cores, n_cores = ndimage.label(depth > WAIST_SHARE * depth.max())
    if n_cores < 2:
        return False
    depths = ndimage.maximum(depth, cores, range(1, n_cores + 1))
    return int(np.count_nonzero(np.asarray(depths) >= EQUAL_SHARE * depth.max())) > 1
