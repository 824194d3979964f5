"""Losses that know how far off a border is. Distances come from the CPU: a few milliseconds for each map of a patch.

Distances are in pixels of the network's grid. Empty and full masks have no border: their maps are 0, so these losses
say nothing there, and belong in a sum with one that does.
"""

import numpy as np
import torch
from monai.losses import HausdorffDTLoss
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

from training.losses.masking import fill_ignored, make_valid_mask, one_hot

MAX_GAP_SIGMAS = 4.0
"""Gaps are looked for up to here: beyond, an object adds less than a thousandth."""


def hausdorff_loss(logits: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """Wrong probability times the distances from both borders, to a power, averaged over pixels and classes.

    An estimate of the Hausdorff distance that has a gradient (Karimi & Salcudean, TMI 2020), as monai has it. Its
    values are areas in pixels, hundreds on a bad day: give it a small weight, or take `log_hausdorff_loss`.
    """
    true = one_hot(fill_ignored(target), logits.shape[1])
    counted = make_valid_mask(target)
    likely = torch.where(counted[:, None] > 0, torch.softmax(logits.float(), dim=1), true)
    value: Tensor = HausdorffDTLoss(alpha=power, include_background=False)(likely, true)
    return value * counted.numel() / counted.sum().clamp(min=1.0)


def log_hausdorff_loss(logits: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """Logarithm of one plus `hausdorff_loss`: of the size of the other losses."""
    return torch.log1p(hausdorff_loss(logits, target, power))


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Distance of the probable border from the true one, integrated over the pixels between them, averaged.

    Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019, over the foreground classes. The
    constant of their equation 4 is kept, so that the value is 0 for a right answer and never below: a trainable weight
    would run away on a negative loss.
    """
    true = one_hot(fill_ignored(target), logits.shape[1])[:, 1:]
    counted = make_valid_mask(target)
    off = torch.softmax(logits.float(), dim=1)[:, 1:] - true
    total = (off * compute_signed_distances(true) * counted[:, None]).sum()
    return total / (counted.sum().clamp(min=1.0) * true.shape[1])


def compute_signed_distances(masks: Tensor) -> Tensor:
    """Distance of each pixel of (n, c, h, w) from the mask's border, negative inside and 0 on its outermost pixels."""
    distances = np.zeros(masks.shape, np.float32)
    for index in np.ndindex(*masks.shape[:2]):
        inside = masks[index].cpu().numpy() > 0.5
        if inside.any() and not inside.all():
            within = ndimage.distance_transform_edt(inside)
            distances[index] = ndimage.distance_transform_edt(~inside) - np.maximum(within - 1.0, 0.0)
    return torch.from_numpy(distances).to(masks.device)


def compute_gap_weights(target: Tensor, sigma_px: float, core_class: int) -> Tensor:
    """How much a pixel lies between two objects, (n, h, w) in [0, 1]; 0 within objects.

    A Gaussian of the sum of the distances to the nearest and to the second nearest object; parameters as in
    `training.losses.losses.boundary_weighted_cross_entropy`.
    """
    planes = fill_ignored(target).cpu().numpy()
    gaps = np.stack([_compute_gap_map(_label_objects(plane, core_class), sigma_px) for plane in planes])
    return torch.from_numpy(gaps).to(target.device)


def _label_objects(classes: NDArray[np.int64], core_class: int) -> NDArray[np.int64]:
    """Give connected pieces a number each: of cores, or of every label where `core_class` is 0."""
    numbers: NDArray[np.int64] = label(classes if core_class == 0 else classes >= core_class, connectivity=1)
    return numbers


def _compute_gap_map(objects: NDArray[np.int64], sigma_px: float) -> NDArray[np.float32]:
    reach = int(np.ceil(MAX_GAP_SIGMAS * sigma_px))
    nearest = np.full(objects.shape, np.inf, np.float32)
    second = nearest.copy()
    for index, box in enumerate(ndimage.find_objects(objects)):
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(objects[around] != index + 1).astype(np.float32)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    gaps = np.exp(-((nearest + second) ** 2) / np.float32(2.0 * sigma_px**2))
    between: NDArray[np.float32] = np.where(objects > 0, np.float32(0.0), gaps)
    return between
