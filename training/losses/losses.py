"""What a network is taught to make small. One line in `LOSSES` adds a loss; a recipe names it, alone or in a sum.

All take logits (n, classes, h, w) and the class of each pixel (n, h, w), int64. Pixels that are `IGNORE_INDEX` cost
nothing and have no gradient, whatever the loss; where nothing else is left, the loss is 0. Those with `class_weights`
average over pixels, and count each by the weight of its true class; the others measure each class by itself, so that a
small class counts as much as a large one anyway.
"""

import functools
import inspect
from collections.abc import Callable, Mapping

import torch
from monai.losses import DiceLoss
from torch import Tensor

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.losses.boundary import boundary_loss, compute_gap_weights, hausdorff_loss, log_hausdorff_loss
from training.losses.masking import make_valid_mask, one_hot, pixelwise_cross_entropy

Loss = Callable[[Tensor, Tensor], Tensor]
SMOOTHING_PX = 1.0
FOCAL_GAMMA = 2.0
EPSILON = 1e-6


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over all pixels.

    Parameters
    ----------
    logits
        (n, classes, h, w).
    target
        Class of each pixel, (n, h, w), int64.
    class_weights
        (classes,); all alike where `None`. The mean is over weights, as torch has it.
    """
    return _compute_weighted_mean(pixelwise_cross_entropy(logits, target), target, class_weights)


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of each foreground class, pooled over the batch and averaged over classes; MONAI's.

    Pooled over the batch, because a slice without lung has no Dice of its own, but its false pixels must still count.
    Milletari et al., V-Net, 3DV 2016; shapes as in `cross_entropy`.
    """
    return _compute_overlap_loss(logits, target, jaccard=False)


def soft_jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft intersection over union, as `soft_dice_loss` (Rahman & Wang, ISVC 2016); MONAI's."""
    return _compute_overlap_loss(logits, target, jaccard=True)


def tversky_loss(logits: Tensor, target: Tensor, false_positive: float = 0.3, false_negative: float = 0.7) -> Tensor:
    """Dice whose false pixels count differently, pooled as in `soft_dice_loss` (Salehi et al., MLMI 2017).

    With the weights as they are, a lesion that is missed costs more than one that is made up; with 0.5 each it is Dice.
    Our own code: MONAI's class gives the same values from 1.6.1 on, but knows no ignored pixels before.
    """
    overlap, likely, true = _compute_areas(logits, target)
    wrong = false_positive * (likely - overlap) + false_negative * (true - overlap)
    return 1.0 - ((overlap + SMOOTHING_PX) / (overlap + wrong + SMOOTHING_PX)).mean()


def focal_loss(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, focus: float = FOCAL_GAMMA
) -> Tensor:
    """Cross-entropy with easy pixels turned down (Lin et al., ICCV 2017); shapes as in `cross_entropy`.

    Our own code: the mean is over the class weights of the pixels that count, MONAI's over their number; the one of
    segmentation-models-pytorch is another loss, a sigmoid of each class against the rest.
    """
    pixelwise = pixelwise_cross_entropy(logits, target)
    return _compute_weighted_mean((1.0 - torch.exp(-pixelwise)) ** focus * pixelwise, target, class_weights)


def cross_entropy_dice_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Sum of `cross_entropy` and `soft_dice_loss`, as in nnU-Net (Isensee et al., Nature Methods 2021)."""
    return cross_entropy(logits, target, class_weights) + soft_dice_loss(logits, target)


def focal_dice_loss(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Sum of `focal_loss` and `soft_dice_loss`."""
    return focal_loss(logits, target, class_weights) + soft_dice_loss(logits, target)


def boundary_weighted_cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    strength: float = 10.0,
    sigma_px: float = 5.0,
    core_class: float = 0,
) -> Tensor:
    """Cross-entropy in which the gap between two objects counts up to `1 + strength` times.

    The weight map of the U-Net (Ronneberger et al., MICCAI 2015): pixels outside of objects count the more, the nearer
    the two nearest objects are. Shapes as in `cross_entropy`.

    Parameters
    ----------
    strength, sigma_px
        Most that is added to a pixel's weight, and how fast that ends with the distance.
    core_class
        First of the classes that are insides of objects, where classes are steps of depth (cards with instances: 2);
        where it is 0, each connected piece of a label is an object.
    """
    counted = make_valid_mask(target)
    gaps = compute_gap_weights(target, sigma_px, int(core_class))
    weights = _compute_pixel_weights(target, class_weights) + strength * gaps * counted
    return (pixelwise_cross_entropy(logits, target) * weights).sum() / counted.sum().clamp(min=1.0)


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
    """Return a loss of that name, with its numbers.

    Parameters
    ----------
    name
        A key of `LOSSES`.
    class_weights
        For those that average over pixels; the others do without.
    options
        Numbers of this loss other than its own.

    Raises
    ------
    MedSegError
        Listing the choices, where there is no loss or no option of a name.
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
    """Whether a loss averages over pixels, so that weights of classes mean something to it."""
    return "class_weights" in inspect.signature(LOSSES[name]).parameters


def _list_options(name: str) -> list[str]:
    numbers = list(inspect.signature(LOSSES[name]).parameters)[2:]
    return [number for number in numbers if number != "class_weights"]


def _compute_pixel_weights(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Weight of each pixel (n, h, w): that of its class, 0 where it is ignored."""
    counted = make_valid_mask(target)
    if class_weights is None:
        return counted
    return class_weights.to(counted)[target.masked_fill(target == IGNORE_INDEX, 0)] * counted


def _compute_weighted_mean(costs: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
    weights = _compute_pixel_weights(target, class_weights)
    return (costs * weights).sum() / weights.sum().clamp(min=EPSILON)


def _compute_overlap_loss(logits: Tensor, target: Tensor, jaccard: bool) -> Tensor:
    """MONAI's Dice or Jaccard loss; it adds its constants to twice the overlap, so those of the Jaccard are doubled."""
    smoothing = 2.0 * SMOOTHING_PX if jaccard else SMOOTHING_PX
    loss = DiceLoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        jaccard=jaccard,
        smooth_nr=smoothing,
        smooth_dr=smoothing,
        batch=True,
        ignore_index=IGNORE_INDEX,
    )
    value: Tensor = loss(logits.float(), target[:, None])
    return value


def _compute_areas(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Overlap, likely area and true area of each foreground class, in pixels over the whole batch, (classes - 1,)."""
    counted = make_valid_mask(target)[:, None]
    likely = torch.softmax(logits.float(), dim=1)[:, 1:] * counted
    true = one_hot(target, logits.shape[1])[:, 1:] * counted
    over = (0, 2, 3)
    return (likely * true).sum(over), likely.sum(over), true.sum(over)
