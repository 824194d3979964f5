"""What a network is asked to say of a labelled plane: the labels themselves, or for instances their depth in steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.model_card import ModelCard


def make_network_targets(labels: NDArray[np.integer[Any]], card: ModelCard) -> NDArray[np.integer[Any]]:
    """Return the class of each pixel for the network of a card.

    Parameters
    ----------
    labels
        (y, x) or (n, y, x) on the image's own grid: label values, or numbers of objects where the card has instances.
    """
    if card.instances is None:
        return labels
    planes = labels.reshape(-1, *labels.shape[-2:])
    classes = np.stack([compute_depth_classes(plane, card.instances.levels) for plane in planes])
    return classes.reshape(labels.shape)


def compute_depth_classes(objects: NDArray[np.integer[Any]], levels: Sequence[float]) -> NDArray[np.uint8]:
    """Class of each pixel by its depth in its object.

    The depth is the distance from the object's border as a share of the largest in that object, so that small and
    large objects get a core alike; neighbours that touch get a rim between them.

    Parameters
    ----------
    objects
        (y, x), each object with a number of its own.
    levels
        Where classes 1, 2, ... begin, as shares of the greatest depth.
    """
    classes = np.zeros(objects.shape, np.uint8)
    for index, box in enumerate(ndimage.find_objects(objects)):
        if box is None:
            continue
        inside = np.pad(objects[box] == index + 1, 1)  # the picture's border is an object's border too
        depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
        inside = inside[1:-1, 1:-1]
        steps = np.searchsorted(levels, depth[inside] / depth.max(), side="right")
        classes[box][inside] = np.maximum(steps, 1)
    return classes
