"""Separate touching objects by a watershed on the predicted depth of each pixel inside its object.

The watershed runs on the whole plane after tiles were blended, so an object across a tile border is one object.
Beucher & Lantuéjoul (1979) for the watershed, HoVer-Net (Graham et al., MedIA 2019) for the depth map.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from napari_medseg.core.model_card import InstanceSeparation

CORE_DEPTH = 255
"""Depth value of a pixel that is certainly in the core of an object."""

Objects = NDArray[np.uint32]


def separate_objects_in_planes(inside: NDArray[Any], depth: NDArray[np.uint8], settings: InstanceSeparation) -> Objects:
    """Return numbered objects of several planes; numbers go on from plane to plane. See `separate_objects`.

    Parameters
    ----------
    inside
        (n, y, x); above 0 where a pixel belongs to any object.
    depth
        (n, y, x); expected depth, 0 for background to `CORE_DEPTH` for a core.
    settings
        Of the card.

    Returns
    -------
    NDArray
        uint32 (n, y, x); 0 is background.
    """
    objects = np.empty(inside.shape, np.uint32)
    first = 1
    for index, plane in enumerate(inside):
        objects[index] = separate_objects(plane > 0, depth[index], settings, first)
        first = max(first, int(objects[index].max()) + 1)
    return objects


def separate_objects(
    inside: NDArray[np.bool_], depth: NDArray[np.uint8], settings: InstanceSeparation, first: int = 1
) -> Objects:
    """Return the numbered objects of a plane.

    Parameters
    ----------
    inside
        bool (y, x); whether a pixel belongs to any object.
    depth
        uint8 (y, x); expected depth, from 0 for background to `CORE_DEPTH` for a core.
    settings
        Settings of the card.
    first
        Number of the first object; numbers have no gaps.

    Returns
    -------
    NDArray
        uint32 (y, x); 0 is background.
    """
    smooth = (
        ndimage.gaussian_filter(depth.astype(np.float32), settings.smoothing_px) if settings.smoothing_px else depth
    )
    cores, n_cores = ndimage.label(inside & (smooth >= settings.marker_depth * CORE_DEPTH))
    bodies, n_bodies = ndimage.label(inside)
    body_of_core = np.zeros(n_cores + 1, np.intp)
    body_of_core[cores] = bodies  # a core lies in one body
    n_cores_in = np.bincount(body_of_core[1:], minlength=n_bodies + 1)
    # a body with one core or none (faint or tiny) is one object: most of the image needs no watershed
    object_of_body = np.arange(n_bodies + 1) + n_cores
    object_of_body[0] = 0
    objects = object_of_body[bodies]
    shared = inside & (n_cores_in > 1)[bodies]
    if shared.any():
        parted = watershed(-smooth, np.where(shared, cores, 0), mask=shared)
        objects[shared] = parted[shared]
    return _renumber_objects(objects, settings.min_area_px, first)


def _renumber_objects(objects: NDArray[Any], min_area_px: int, first: int) -> Objects:
    areas = np.bincount(objects.ravel())
    kept = areas >= max(1, min_area_px)
    kept[0] = False
    number = np.zeros(len(areas), np.uint32)
    number[kept] = np.arange(first, first + np.count_nonzero(kept), dtype=np.uint32)
    numbered: Objects = number[objects]
    return numbered
