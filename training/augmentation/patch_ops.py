"""The subset of patches for one transform, and functions shared by several transforms.

Images are (k, c, h, w) tensors. Values are in [0, 1] before and after all transforms, but not always between them.
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
    """The patches to which one transform is applied.

    Parameters
    ----------
    grey, labels
        (k, c, h, w) float32 and (k, h, w) int64.
    generator
        Random number generator on the device, for noise.
    """

    grey: Tensor
    labels: Tensor
    generator: torch.Generator

    def broadcast_per_patch(self, numbers: Sequence[ArrayLike]) -> Tensor:
        """Return a number or an array (m, ...) per patch as a tensor on the device that broadcasts to `grey`."""
        stacked = torch.from_numpy(np.stack([np.asarray(number, np.float32) for number in numbers]))
        return stacked.reshape(*stacked.shape, *(1,) * (self.grey.ndim - stacked.ndim)).to(self.grey.device)

    @property
    def unlabelled_mask(self) -> Tensor:
        """Pixels without a label, (k, 1, h, w) bool."""
        return self.labels[:, None] == 0

    @property
    def tissue_mask(self) -> Tensor:
        """Bright pixels without a label, (k, 1, h, w) bool."""
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
    """Return the median over a mask (k, 1, h, w) for each image and channel, (k, c, 1, 1); 0 for an empty mask."""
    ordered = grey.masked_fill(~mask, torch.inf).flatten(2).sort(dim=-1).values
    middle = ((mask.flatten(2).sum(dim=-1, keepdim=True) - 1) // 2).clamp(min=0).expand(-1, grey.shape[1], -1)
    median = ordered.gather(-1, middle)[..., None]
    return torch.where(median.isfinite(), median, 0.0)


def sample_smooth_noise(rng: np.random.Generator, cells: int, side_px: int) -> NDArray[np.float32]:
    """Sample smooth noise (side, side), float32, interpolated from normal noise on a grid of `cells` x `cells`."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    field = functional.interpolate(coarse, (side_px, side_px), mode="bicubic", align_corners=False)
    smooth: NDArray[np.float32] = field[0, 0].numpy()
    return smooth
