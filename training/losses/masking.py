"""Functions shared by all losses: masks of valid pixels, and one-hot targets."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX


def make_valid_mask(target: Tensor) -> Tensor:
    """Return 1 for valid pixels and 0 for `IGNORE_INDEX`, float32 with the shape of the target."""
    return (target != IGNORE_INDEX).float()


def one_hot(target: Tensor, n_classes: int) -> Tensor:
    """Return classes (n, h, w) as one-hot maps (n, classes, h, w), float32; ignored pixels become background."""
    known = target.masked_fill(target == IGNORE_INDEX, 0)
    return functional.one_hot(known, n_classes).movedim(-1, 1).float()


def fill_ignored(target: Tensor) -> Tensor:
    """Give ignored pixels (n, h, w) the class of the nearest valid pixel; background if a patch has no valid pixel.

    Distance-based losses use the result, so that the edge of the reviewed region is not treated as an organ border.
    """
    ignored = target == IGNORE_INDEX
    if not bool(ignored.any()):
        return target
    classes, unknown = target.cpu().numpy().copy(), ignored.cpu().numpy()
    for plane, holes in zip(classes, unknown, strict=True):
        if holes.all():
            plane[:] = 0
        elif holes.any():
            nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
            plane[:] = plane[tuple(nearest)]
    return torch.from_numpy(np.ascontiguousarray(classes)).to(target.device)
