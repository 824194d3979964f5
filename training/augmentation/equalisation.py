"""Histogram equalisation of many pictures at once, on their device: as `inference.image_steps` does it to one."""

from collections.abc import Callable

import torch
from kornia.enhance import equalize_clahe
from torch import Tensor

from napari_medseg.inference import contrast

BINS = 256
TILES = 8
FLAT = 1e-3
"""A picture of a smaller range has nothing to spread."""


def on_brightness(grey: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change the brightness (the largest channel) of pictures (k, c, h, w); colours keep their proportions."""
    grey = grey.nan_to_num(0.0).clamp(0, 1)
    brightness = grey.amax(dim=1, keepdim=True)
    if grey.shape[1] == 1:
        return change(brightness)
    return (grey * (change(brightness) / brightness.clamp(min=contrast.DARKEST))).clamp(0, 1)


def spread_evenly(grey: Tensor) -> Tensor:
    """Make every value of each picture (k, 1, h, w) as frequent, as skimage's ``equalize_hist``."""
    low, size = _range(grey)
    place = (_stretched(grey, low, size) * BINS).flatten(1)
    counts = torch.zeros(len(grey), BINS, device=grey.device)
    counts.scatter_add_(1, place.long().clamp(max=BINS - 1), torch.ones_like(place))
    share_below = counts.cumsum(dim=1) / place.shape[1]
    before = (place - 0.5).floor().long().clamp(0, BINS - 1)
    after = (before + 1).clamp(max=BINS - 1)
    found = torch.lerp(share_below.gather(1, before), share_below.gather(1, after), (place - 0.5 - before).clamp(0, 1))
    return torch.where(size < FLAT, grey, found.view_as(grey))


def spread_in_tiles(grey: Tensor) -> Tensor:
    """CLAHE of each picture (k, 1, h, w), about as skimage's ``equalize_adapthist``."""
    low, size = _range(grey)
    # The clip limit is a share of a tile's pixels there, and a multiple of the mean count of a bin here.
    limit = contrast.CLIP_LIMIT * BINS
    found = equalize_clahe(_stretched(grey, low, size), limit, (TILES, TILES))
    return torch.where(size < FLAT, grey, _stretched(found, *_range(found)))


def _range(grey: Tensor) -> tuple[Tensor, Tensor]:
    low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
    return low, high - low


def _stretched(grey: Tensor, low: Tensor, size: Tensor) -> Tensor:
    return (grey - low) / size.clamp(min=FLAT)
