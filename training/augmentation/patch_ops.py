"""Patches of a batch that the same change is done to, and what several changes need.

Pictures are (k, c, h, w) tensors, in [0, 1] before and after all changes but not always between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

TISSUE_THRESHOLD = 0.3


@dataclass(frozen=True)
class PatchSubset:
    """The patches that one change is done to.

    Parameters
    ----------
    grey, labels
        (k, c, h, w) float32 and (k, h, w) int64.
    generator
        Draws on the device what is too much to be drawn elsewhere: noise.
    """

    grey: Tensor
    labels: Tensor
    generator: torch.Generator

    def broadcast_per_patch(self, numbers: Sequence[ArrayLike]) -> Tensor:
        """Return a number, or an array (m, ...), for each patch as a tensor on their device that fits `grey`."""
        stacked = torch.from_numpy(np.stack([np.asarray(number, np.float32) for number in numbers]))
        return stacked.reshape(*stacked.shape, *(1,) * (self.grey.ndim - stacked.ndim)).to(self.grey.device)

    @property
    def unlabelled_mask(self) -> Tensor:
        """(k, 1, h, w)"""
        return self.labels[:, None] == 0

    @property
    def tissue_mask(self) -> Tensor:
        """(k, 1, h, w): what is bright and has no label."""
        return self.unlabelled_mask & (self.grey.mean(dim=1, keepdim=True) > TISSUE_THRESHOLD)


def gaussian_blur(grey: Tensor, sigmas_px: Sequence[float]) -> Tensor:
    """Gaussian blur of (k, c, h, w) pictures, each with a sigma of its own (k,); the border repeats outermost pixels.

    The parts of kornia's `gaussian_blur2d` without its look at the sigmas' values, which a traced call cannot take.
    """
    radius = max(1, round(3 * max(sigmas_px)))
    kernels = get_gaussian_kernel1d(2 * radius + 1, torch.tensor(sigmas_px, dtype=torch.float32)[:, None])
    blurred: Tensor = filter2d_separable(grey, kernels, kernels, "replicate")
    return blurred


def compute_masked_median(grey: Tensor, mask: Tensor) -> Tensor:
    """Median of the pixels (k, 1, h, w) of each patch and channel, (k, c, 1, 1); 0 where none is chosen."""
    ordered = grey.masked_fill(~mask, torch.inf).flatten(2).sort(dim=-1).values
    middle = ((mask.flatten(2).sum(dim=-1, keepdim=True) - 1) // 2).clamp(min=0).expand(-1, grey.shape[1], -1)
    median = ordered.gather(-1, middle)[..., None]
    return torch.where(median.isfinite(), median, 0.0)


def sample_smooth_noise(rng: np.random.Generator, cells: int, side_px: int) -> NDArray[np.float32]:
    """Draw smooth noise (side, side) of unit variance at the middle of each of `cells` x `cells` cells."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    field = functional.interpolate(coarse, (side_px, side_px), mode="bicubic", align_corners=False)
    smooth: NDArray[np.float32] = field[0, 0].numpy()
    return smooth
