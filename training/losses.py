"""What a network is taught to make small. One line in `LOSSES` adds a loss; a recipe names it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
SMOOTHING_PX = 1.0
FOCUS = 2.0


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over all pixels.

    Parameters
    ----------
    logits
        (n, classes, h, w).
    target
        Class of each pixel, (n, h, w), int64.
    """
    return functional.cross_entropy(logits.float(), target)


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of each foreground class, pooled over the batch and averaged over classes.

    Pooled over the batch, because a slice without lung has no Dice of its own, but its false pixels must still count.
    Milletari et al., V-Net, 3DV 2016; shapes as in `cross_entropy`.
    """
    probabilities = torch.softmax(logits.float(), dim=1)[:, 1:]
    truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    over = (0, 2, 3)
    overlap = (probabilities * truth).sum(over)
    total = probabilities.sum(over) + truth.sum(over)
    return 1.0 - ((2.0 * overlap + SMOOTHING_PX) / (total + SMOOTHING_PX)).mean()


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with easy pixels turned down (Lin et al., ICCV 2017, gamma 2); shapes as in `cross_entropy`."""
    pixelwise = functional.cross_entropy(logits.float(), target, reduction="none")
    return ((1.0 - torch.exp(-pixelwise)) ** FOCUS * pixelwise).mean()


def cross_entropy_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of `cross_entropy` and `soft_dice`, as in nnU-Net (Isensee et al., Nature Methods 2021)."""
    return cross_entropy(logits, target) + soft_dice(logits, target)


def focal_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of `focal` and `soft_dice`."""
    return focal(logits, target) + soft_dice(logits, target)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_dice": cross_entropy_dice,
    "dice": soft_dice,
    "focal_dice": focal_dice,
}


def loss_named(name: str) -> Loss:
    """Return a loss; raise `ValueError` listing the choices where there is none of that name."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose one of {sorted(LOSSES)}")
    return LOSSES[name]
