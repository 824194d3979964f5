"""What all losses share: which pixels count, and the classes of a target as one map each."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX


def make_valid_mask(target: Tensor) -> Tensor:
    """1 where a pixel counts and 0 where it is `IGNORE_INDEX`, float32 of the target's shape."""
    return (target != IGNORE_INDEX).float()


def one_hot(target: Tensor, n_classes: int) -> Tensor:
    """Classes (n, h, w) as maps (n, classes, h, w), float32; an ignored pixel is background here."""
    known = target.masked_fill(target == IGNORE_INDEX, 0)
    return functional.one_hot(known, n_classes).movedim(-1, 1).float()


def pixelwise_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each pixel (n, h, w), 0 where it is ignored; in 32 bits whatever the network's precision."""
    return functional.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX, reduction="none")


def fill_ignored(target: Tensor) -> Tensor:
    """Give ignored pixels the class of the nearest pixel that counts; background where there is none in the patch.

    Distances are measured on this: an organ that the reviewed region cuts has no border there.
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
