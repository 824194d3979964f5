"""Losses where a label stands for several classes (`training.data.label_sets`).

The probability of such a pixel is the sum over its classes, so nothing is learnt about which of them it is; overlap
losses compare the sum with the union of the labels (marginal and exclusive losses: Shi et al., Marginal loss and
exclusion loss for partially supervised multi-organ segmentation, Medical Image Analysis 2021).
"""

import torch
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.data.label_sets import FIRST_SET_CODE, MAX_CLASSES, list_members
from training.losses.masking import make_valid_mask, one_hot

CERTAIN_WEIGHT = 3.0
"""Weight of a pixel that a person painted or called right, in sums over pixels and in areas. A pixel that was only
accepted with the rest of the image counts as 1."""


def find_set_codes(target: Tensor, n_classes: int) -> list[int]:
    """Return the codes of sets in a target (n, h, w), ascending; empty if the network has too many classes for sets."""
    if n_classes > MAX_CLASSES:
        return []
    coded = target[(target > FIRST_SET_CODE) & (target < IGNORE_INDEX)]
    return [int(code) for code in torch.unique(coded)] if coded.numel() else []


def make_members_mask(target: Tensor, n_classes: int) -> Tensor:
    """Return which of at most seven classes each pixel may have, (n, classes, h, w) bool; all for ignored pixels."""
    classes = torch.arange(n_classes, device=target.device).reshape(1, -1, 1, 1)
    bits = (target - FIRST_SET_CODE).clamp(min=0)[:, None]
    return torch.where((target >= FIRST_SET_CODE)[:, None], ((bits >> classes) & 1).bool(), target[:, None] == classes)


def make_certainty_weights(target: Tensor, n_classes: int) -> Tensor:
    """Return `CERTAIN_WEIGHT` for pixels that a person set, and 1 for others, float32 of the shape of the target."""
    bits = (target - FIRST_SET_CODE).clamp(min=0)
    is_certain = (bits > 0) & ((bits & (bits - 1)) == 0) & (n_classes <= MAX_CLASSES)
    return 1.0 + (CERTAIN_WEIGHT - 1.0) * is_certain.float()


def has_certain_pixels(target: Tensor, n_classes: int) -> bool:
    """Whether a person set some pixels of a target (n, h, w)."""
    return any(len(list_members(code)) == 1 for code in find_set_codes(target, n_classes))


def pixelwise_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return minus the logarithm of the probability of each pixel's class, or of the sum over its classes.

    The result is (n, h, w), 0 for ignored pixels, and always computed in float32.
    """
    if not find_set_codes(target, logits.shape[1]):
        return functional.cross_entropy(logits.float(), target, ignore_index=IGNORE_INDEX, reduction="none")
    likely = torch.log_softmax(logits.float(), dim=1)
    members = make_members_mask(target, logits.shape[1])
    summed = likely.masked_fill(~members, -torch.inf).logsumexp(dim=1)
    return torch.where(target == IGNORE_INDEX, 0.0, -summed)


def make_overlap_maps(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return predicted and true maps of each foreground class and of each set in the target.

    Parameters
    ----------
    logits, target
        (n, classes, h, w) and (n, h, w).

    Returns
    -------
    likely, true
        (n, classes - 1 + sets, h, w) float32. Both are 0 where the target does not tell whether a pixel belongs to the
        class or the set.
    """
    n_classes, codes = logits.shape[1], find_set_codes(target, logits.shape[1])
    likely = torch.softmax(logits.float(), dim=1)
    if not codes:
        counted = make_valid_mask(target)[:, None]
        return likely[:, 1:] * counted, one_hot(target, n_classes)[:, 1:] * counted
    members = make_members_mask(target, n_classes)
    sets = [one for one in map(list_members, codes) if len(one) > 1]
    regions = [(value,) for value in range(1, n_classes)] + sets
    maps, truths = [], []
    for region in regions:
        wanted = torch.zeros(n_classes, dtype=torch.bool, device=target.device)
        wanted[list(region)] = True
        wanted = wanted.reshape(1, -1, 1, 1)
        touches, leaves = (members & wanted).any(dim=1), (members & ~wanted).any(dim=1)
        known = ~(touches & leaves)
        maps.append((likely * wanted).sum(dim=1) * known)
        truths.append((touches & known).float())
    return torch.stack(maps, dim=1), torch.stack(truths, dim=1)


def resolve_sets(logits: Tensor, target: Tensor) -> Tensor:
    """Return a target whose set pixels have the most probable of their classes, for losses that need one class."""
    if not find_set_codes(target, logits.shape[1]):
        return target
    members = make_members_mask(target, logits.shape[1])
    best = logits.detach().float().masked_fill(~members, -torch.inf).argmax(dim=1)
    return torch.where((target > FIRST_SET_CODE) & (target < IGNORE_INDEX), best, target)
