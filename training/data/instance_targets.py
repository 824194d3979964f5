"""Training targets of a network: the labels themselves, or for instance tasks classes of depth inside the objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.quality.object_counts import iterate_objects


def make_network_targets(labels: NDArray[np.integer[Any]], card: ModelCard) -> NDArray[np.integer[Any]]:
    """Return the class of each pixel for the network of a card.

    Parameters
    ----------
    labels
        (y, x) or (n, y, x), integers, on the original grid: label values, or object numbers if the card has instances.

    Returns
    -------
    NDArray
        Classes of the same shape; uint8 for instances.
    """
    if card.instances is None:
        return labels
    planes = labels.reshape(-1, *labels.shape[-2:])
    classes = np.stack([compute_depth_classes(plane, card.instances.levels) for plane in planes])
    return classes.reshape(labels.shape)


def compute_depth_classes(objects: NDArray[np.integer[Any]], levels: Sequence[float]) -> NDArray[np.uint8]:
    """Return the class of each pixel by its depth inside its object.

    The depth is the distance from the object's border, relative to the largest distance in that object. So small and
    large objects both get a core, and touching objects are separated by a rim.

    Parameters
    ----------
    objects
        (y, x), integers: a different number for each object.
    levels
        Relative depths at which the classes 1, 2, ... start.

    Returns
    -------
    NDArray
        (y, x) uint8; 0 outside objects.
    """
    classes = np.zeros(objects.shape, np.uint8)
    for box, inside in iterate_objects(objects):
        # The image border counts as an object border.
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        steps = np.searchsorted(levels, depth[inside] / depth.max(), side="right")
        classes[box][inside] = np.maximum(steps, 1)
    return classes
