"""Loss functions. One line in `LOSSES` adds a loss; a recipe names it, alone or in a sum.

All take logits (n, classes, h, w), float, and the class of each pixel (n, h, w), int64, and return a scalar. Pixels
with `IGNORE_INDEX` have no loss and no gradient; if no other pixels are left, the loss is 0. Pixels that a person set
have `CERTAIN_WEIGHT` in sums over pixels, in overlaps and areas too. Losses with `class_weights` average over pixels,
weighted by the true class. The others compute each class separately, so that a small class counts as much as a large
one. A pixel may be labelled with several classes, see `training.data.label_sets`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.label_sets import MAX_CLASSES
from training.losses.boundary import boundary_loss, compute_gap_weights, hausdorff_loss, log_hausdorff_loss
from training.losses.label_sets import (
    find_set_codes,
    has_certain_pixels,
    make_certainty_weights,
    make_members_mask,
    make_overlap_maps,
    pixelwise_cross_entropy,
    resolve_sets,
)
from training.losses.masking import make_valid_mask

Loss = Callable[[Tensor, Tensor], Tensor]
SMOOTHING_PX = 1.0
FOCAL_GAMMA = 2.0
EPSILON = 1e-6


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy over all pixels.

    Parameters
    ----------
    logits
        (n, classes, h, w).
    target
        Class of each pixel, (n, h, w), int64.
    class_weights
        (classes,); `None`: equal weights. The sum is divided by the sum of the weights, as in torch.
    """
    return _compute_weighted_mean(pixelwise_cross_entropy(logits, target), target, class_weights)


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return one minus the soft Dice, pooled over the batch and averaged over foreground classes (as in MONAI).

    Dice is pooled over the batch, because it is undefined for a slice without the organ, but false positive pixels in
    that slice must still count. Milletari et al., V-Net, 3DV 2016; shapes as in `cross_entropy`.
    """
    return _compute_overlap_loss(logits, target, jaccard=False)


def soft_jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return one minus the soft IoU, pooled as in `soft_dice_loss` (Rahman & Wang, ISVC 2016; as in MONAI)."""
    return _compute_overlap_loss(logits, target, jaccard=True)


def tversky_loss(logits: Tensor, target: Tensor, false_positive: float = 0.3, false_negative: float = 0.7) -> Tensor:
    """Return the Tversky loss, pooled as in `soft_dice_loss` (Salehi et al., MLMI 2017); shapes as in `cross_entropy`.

    It is a Dice loss with separate weights of false positives and false negatives. The default penalises false
    negatives more; with 0.5 each it is the Dice loss. This is not MONAI's class, which supports ignored pixels only
    from 1.6.1 on; there it gives the same values.
    """
    overlap, likely, true = _compute_areas(logits, target)
    wrong = false_positive * (likely - overlap) + false_negative * (true - overlap)
    return 1.0 - ((overlap + SMOOTHING_PX) / (overlap + wrong + SMOOTHING_PX)).mean()


def focal_loss(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, focus: float = FOCAL_GAMMA
) -> Tensor:
    """Return the focal loss: cross-entropy with a low weight of easy pixels (Lin et al., ICCV 2017).

    Shapes as in `cross_entropy`. The sum is divided by the class weights of the pixels; MONAI divides by their number.
    The focal loss of segmentation-models-pytorch is different: a sigmoid of each class against the rest.
    """
    pixelwise = pixelwise_cross_entropy(logits, target)
    return _compute_weighted_mean((1.0 - torch.exp(-pixelwise)) ** focus * pixelwise, target, class_weights)


def cross_entropy_dice_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the sum of `cross_entropy` and `soft_dice_loss`, as in nnU-Net (Isensee et al., Nature Methods 2021)."""
    return cross_entropy(logits, target, class_weights) + soft_dice_loss(logits, target)


def focal_dice_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Return the sum of `focal_loss` and `soft_dice_loss`; shapes as in `cross_entropy`."""
    return focal_loss(logits, target, class_weights) + soft_dice_loss(logits, target)


def boundary_weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    strength: float = 10.0,
    sigma_px: float = 5.0,
    core_class: float = 0,
) -> Tensor:
    """Return the cross-entropy with a weight of up to `1 + strength` in the gap between two objects.

    This is the weight map of the U-Net (Ronneberger et al., MICCAI 2015): pixels outside objects have a higher weight
    if their two nearest objects are close. The sum is divided as in `cross_entropy`, without the additions for gaps: so
    these do not lower the weight of all other pixels, and without gaps the loss is the cross-entropy. Shapes as there.

    Parameters
    ----------
    strength, sigma_px
        Maximum addition to the weight of a pixel, and the sigma in pixels with which it decreases with distance.
    core_class
        First class of the insides of objects, if classes are depth levels (2 for cards with instances). 0: each
        connected component of a label is an object.
    """
    gaps = compute_gap_weights(resolve_sets(logits, target), sigma_px, int(core_class))
    weights = _compute_pixel_weights(target, class_weights)
    raised = weights + strength * gaps * _compute_pixel_weights(target, None)
    return (pixelwise_cross_entropy(logits, target) * raised).sum() / weights.sum().clamp(min=EPSILON)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "boundary": boundary_loss,
    "boundary_weighted": boundary_weighted_cross_entropy,
    "cross_entropy": cross_entropy,
    "cross_entropy_dice": cross_entropy_dice_loss,
    "dice": soft_dice_loss,
    "focal": focal_loss,
    "focal_dice": focal_dice_loss,
    "hausdorff": hausdorff_loss,
    "jaccard": soft_jaccard_loss,
    "log_hausdorff": log_hausdorff_loss,
    "tversky": tversky_loss,
}


def get_loss(name: str, class_weights: Tensor | None = None, options: Mapping[str, float] | None = None) -> Loss:
    """Return the loss with a name, with its options set.

    Parameters
    ----------
    name
        A key of `LOSSES`.
    class_weights
        (classes,), for losses that average over pixels; other losses ignore it.
    options
        Values that replace the defaults of this loss.

    Raises
    ------
    MedSegError
        If the loss or an option is unknown; the text lists the choices.
    """
    look_up(LOSSES, name, "loss")
    choices = _list_options(name)
    settings: dict[str, object] = dict(options or {})
    if unknown := sorted(settings.keys() - set(choices)):
        raise MedSegError(f"the loss {name!r} has no options {unknown}; choose among {choices}")
    if class_weights is not None and takes_class_weights(name):
        settings["class_weights"] = class_weights
    return functools.partial(LOSSES[name], **settings)


def takes_class_weights(name: str) -> bool:
    """Whether a loss averages over pixels and therefore accepts class weights."""
    return "class_weights" in inspect.signature(LOSSES[name]).parameters


def _list_options(name: str) -> list[str]:
    numbers = list(inspect.signature(LOSSES[name]).parameters)[2:]
    return [number for number in numbers if number != "class_weights"]


def _compute_pixel_weights(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the weight of each pixel (n, h, w): that of its class, the mean of a set; 0 for ignored pixels.

    A pixel that a person set has `CERTAIN_WEIGHT` times that.
    """
    n_classes = MAX_CLASSES if class_weights is None else len(class_weights)
    counted = make_valid_mask(target) * make_certainty_weights(target, n_classes)
    if class_weights is None:
        return counted
    weights = class_weights.to(counted)
    if not find_set_codes(target, len(weights)):
        return weights[target.masked_fill(target == IGNORE_INDEX, 0)] * counted
    members = make_members_mask(target, len(weights)).float()
    return (members * weights.reshape(1, -1, 1, 1)).sum(dim=1) / members.sum(dim=1) * counted


def _compute_weighted_mean(costs: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    weights = _compute_pixel_weights(target, class_weights)
    return (costs * weights).sum() / weights.sum().clamp(min=EPSILON)


def _compute_overlap_loss(logits: Tensor, target: Tensor, jaccard: bool) -> Tensor:
    """Return the Dice or Jaccard loss of MONAI; it also weighs the pixels that a person set, which MONAI does not.

    The formula is here, because importing MONAI takes a third of the start of a training process. The smoothing of the
    Jaccard is doubled, as MONAI doubles the overlap.
    """
    smoothing = 2.0 * SMOOTHING_PX if jaccard else SMOOTHING_PX
    overlap, likely, true = _compute_areas(logits, target)
    both = 2.0 * (likely + true - overlap) if jaccard else likely + true
    return (1.0 - (2.0 * overlap + smoothing) / (both + smoothing)).mean()


def _compute_areas(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return overlap, predicted and true area of each class and set over the batch, in pixels, (n,).

    A pixel that a person set counts as `CERTAIN_WEIGHT` pixels.
    """
    likely, true = make_overlap_maps(logits, target)
    if has_certain_pixels(target, logits.shape[1]):
        weights = make_certainty_weights(target, logits.shape[1])[:, None]
        likely, weighted = likely * weights, true * weights
    else:
        weighted = true
    over = (0, 2, 3)
    return (likely * true).sum(over), likely.sum(over), weighted.sum(over)
