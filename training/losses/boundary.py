"""Losses based on distances to the border. Distances are computed on the CPU, a few milliseconds per class and patch.

Distances are in pixels of the network's grid. Empty and full masks have no border, so their distances and these losses
are 0. Therefore combine these losses with another one in a sum.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

from training.losses.label_sets import make_certainty_weights, resolve_sets
from training.losses.masking import fill_ignored, make_valid_mask, one_hot

MAX_GAP_SIGMAS = 4.0
"""Maximum distance for gap weights; farther objects add less than 0.001."""


def hausdorff_loss(logits: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """Return the error times the distances from both borders, to a power, averaged over pixels and classes.

    A differentiable estimate of the Hausdorff distance (Karimi & Salcudean, TMI 2020), as in MONAI. With power 2 the
    values are in square pixels and can be in the hundreds: use a small weight, or `log_hausdorff_loss`. Parameters as
    in `training.losses.losses.cross_entropy`; the result is a scalar.
    """
    true = one_hot(fill_ignored(resolve_sets(logits, target)), logits.shape[1])
    weights = make_valid_mask(target) * make_certainty_weights(target, logits.shape[1])
    likely = torch.where(weights[:, None] > 0, torch.softmax(logits.float(), dim=1), true)
    total = torch.zeros((), device=logits.device)
    for value in range(1, logits.shape[1]):  # MONAI's loss has no weights of pixels, so its formula is written here
        said, wanted = likely[:, [value]], true[:, [value]]
        far = compute_border_distances(said) ** power + compute_border_distances(wanted) ** power
        total = total + ((said - wanted) ** 2 * far * weights[:, None]).sum()
    return total / (weights.sum().clamp(min=1.0) * (logits.shape[1] - 1))


def log_hausdorff_loss(logits: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """Return the logarithm of one plus `hausdorff_loss`, which has the magnitude of the other losses; a scalar."""
    return torch.log1p(hausdorff_loss(logits, target, power))


@torch.no_grad()
def compute_border_distances(masks: Tensor) -> Tensor:
    """Return the distance in pixels to the border of masks (n, 1, h, w), both sides positive; 0 if there is no border.

    MONAI's distances are float64, which Apple's GPUs lack; these are float32 on the device of the masks.
    """
    from monai.losses import HausdorffDTLoss  # importing MONAI takes seconds, and most runs do without

    field: Tensor = HausdorffDTLoss().distance_field(masks.detach().cpu())
    return field.to(masks.device, torch.float32)


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the distance between predicted and true border, integrated over the pixels between them, as a mean.

    Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019, over the foreground classes. The
    constant of their equation 4 is kept, so that the loss is 0 for a correct prediction and never negative; with a
    negative loss, a trainable weight would diverge. Parameters as in `training.losses.losses.cross_entropy`.
    """
    true = one_hot(fill_ignored(resolve_sets(logits, target)), logits.shape[1])[:, 1:]
    counted = make_valid_mask(target) * make_certainty_weights(target, logits.shape[1])
    off = torch.softmax(logits.float(), dim=1)[:, 1:] - true
    total = (off * compute_signed_distances(true) * counted[:, None]).sum()
    return total / (counted.sum().clamp(min=1.0) * true.shape[1])


def compute_signed_distances(masks: Tensor) -> Tensor:
    """Return the distance in pixels from the border of masks (n, c, h, w); negative inside, 0 on the border pixels."""
    distances = np.zeros(masks.shape, np.float32)
    for index in np.ndindex(*masks.shape[:2]):
        inside = masks[index].cpu().numpy() > 0.5
        if inside.any() and not inside.all():
            within = ndimage.distance_transform_edt(inside)
            distances[index] = ndimage.distance_transform_edt(~inside) - np.maximum(within - 1.0, 0.0)
    return torch.from_numpy(distances).to(masks.device)


def compute_gap_weights(target: Tensor, sigma_px: float, core_class: int) -> Tensor:
    """Return a weight in [0, 1] of each pixel (n, h, w) for the gap between two objects; 0 inside objects.

    It is a Gaussian of the sum of the distances to the nearest and second nearest object (Ronneberger et al., MICCAI
    2015). Parameters as in `training.losses.losses.boundary_weighted_cross_entropy`.
    """
    planes = fill_ignored(target).cpu().numpy()
    gaps = np.stack([_compute_gap_map(_label_objects(plane, core_class), sigma_px) for plane in planes])
    return torch.from_numpy(gaps).to(target.device)


def _label_objects(classes: NDArray[np.int64], core_class: int) -> NDArray[np.int64]:
    """Give numbers to the connected components of cores, or of every label if `core_class` is 0."""
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
