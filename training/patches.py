"""Patches of a batch that the same is done to, and what several changes of grey values need.

Pictures are (k, c, h, w) tensors in [0, 1]; numbers (k,) or (k, ...) are numpy's until they are used.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Numbers = dict[str, NDArray[np.floating]]
"""What was drawn for one patch, or for several of them, by name."""

TISSUE_ABOVE = 0.3


@dataclass(frozen=True)
class Patches:
    """The patches that one change is done to.

    Parameters
    ----------
    grey, labels
        (k, c, h, w) float32 and (k, h, w) int64.
    numbers
        What was drawn for them, (k, ...) float32.
    generator
        Draws on the device what is too much to be drawn elsewhere: noise.
    """

    grey: Tensor
    labels: Tensor
    numbers: Numbers
    generator: torch.Generator

    def number(self, name: str, n_axes: int = 4) -> Tensor:
        """Return numbers on the device of the patches, with axes of length 1 behind those that they have."""
        numbers = torch.from_numpy(self.numbers[name]).to(self.grey.device)
        return numbers.reshape(*numbers.shape, *(1,) * (n_axes - numbers.ndim))

    @property
    def unlabelled(self) -> Tensor:
        """(k, 1, h, w)"""
        return self.labels[:, None] == 0

    @property
    def tissue(self) -> Tensor:
        """(k, 1, h, w): what is bright and has no label."""
        return self.unlabelled & (self.grey.mean(dim=1, keepdim=True) > TISSUE_ABOVE)


def blurred(grey: Tensor, sigmas_px: NDArray[np.floating]) -> Tensor:
    """Gaussian blur of (k, c, h, w) pictures, each with a sigma of its own (k,), one axis after the other."""
    n_patches, n_channels = grey.shape[:2]
    groups, radius = n_patches * n_channels, max(1, round(3 * float(sigmas_px.max())))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigmas_px[:, np.newaxis]) ** 2)
    weights = np.repeat(weights / weights.sum(axis=1, keepdims=True), n_channels, axis=0)
    kernels = torch.from_numpy(weights.astype(np.float32)).to(grey.device)
    padded = functional.pad(grey.flatten(0, 1)[None], (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, kernels[:, None, None, :], groups=groups)
    return functional.conv2d(rows, kernels[:, None, :, None], groups=groups).view_as(grey)


def median_of(grey: Tensor, chosen: Tensor) -> Tensor:
    """Median of the pixels (k, 1, h, w) of each patch and channel, (k, c, 1, 1); 0 where none is chosen."""
    ordered = grey.masked_fill(~chosen, torch.inf).flatten(2).sort(dim=-1).values
    middle = ((chosen.flatten(2).sum(dim=-1, keepdim=True) - 1) // 2).clamp(min=0).expand(-1, grey.shape[1], -1)
    median = ordered.gather(-1, middle)[..., None]
    return torch.where(median.isfinite(), median, 0.0)
