"""Histogram equalisation of a batch of images on their device; the same steps as in `inference.image_steps`."""

from collections.abc import Callable

import torch
from kornia.enhance import equalize_clahe
from torch import Tensor

from napari_medseg.inference import contrast

BINS = 256
TILES = 8
MIN_RANGE = 1e-3
"""Images with a smaller range of values are not changed."""


def apply_to_brightness(grey: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """Transform the brightness (largest channel) of images (k, c, h, w) in [0, 1]; the ratios of channels are kept."""
    grey = grey.nan_to_num(0.0).clamp(0, 1)
    brightness = grey.amax(dim=1, keepdim=True)
    if grey.shape[1] == 1:
        return transform(brightness)
    return (grey * (transform(brightness) / brightness.clamp(min=contrast.MIN_BRIGHTNESS))).clamp(0, 1)


def equalise_histogram(grey: Tensor) -> Tensor:
    """Make every value of each picture (k, 1, h, w) as frequent, as skimage's ``equalize_hist``.

    Our own code: preparation uses skimage's, and `kornia.enhance.equalize` rounds to 256 values as PIL does.
    """
    low, size = _compute_range(grey)
    place = (_rescale(grey, low, size) * BINS).flatten(1)
    counts = torch.zeros(len(grey), BINS, device=grey.device)
    counts.scatter_add_(1, place.long().clamp(max=BINS - 1), torch.ones_like(place))
    share_below = counts.cumsum(dim=1) / place.shape[1]
    before = (place - 0.5).floor().long().clamp(0, BINS - 1)
    after = (before + 1).clamp(max=BINS - 1)
    found = torch.lerp(share_below.gather(1, before), share_below.gather(1, after), (place - 0.5 - before).clamp(0, 1))
    return torch.where(size < MIN_RANGE, grey, found.view_as(grey))


def apply_clahe(grey: Tensor) -> Tensor:
    """Apply CLAHE to each image (k, 1, h, w) in [0, 1], similar to skimage's ``equalize_adapthist``."""
    low, size = _compute_range(grey)
    # In skimage the clip limit is a share of the pixels of a tile; here it is a multiple of the mean count of a bin.
    limit = contrast.CLIP_LIMIT * BINS
    found = equalize_clahe(_rescale(grey, low, size), limit, (TILES, TILES))
    return torch.where(size < MIN_RANGE, grey, _rescale(found, *_compute_range(found)))


def _compute_range(grey: Tensor) -> tuple[Tensor, Tensor]:
    low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
    return low, high - low


def _rescale(grey: Tensor, low: Tensor, size: Tensor) -> Tensor:
    return (grey - low) / size.clamp(min=MIN_RANGE)
