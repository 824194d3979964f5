"""Synthetic artifacts: air pockets, consolidations and cutout.

They teach the network that dark pixels are not always lung, and that bright pixels may be lung. Parameters are sampled
for a patch; the transform is then applied to all patches of a batch that have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.patch_ops import PatchSubset, compute_masked_median, gaussian_blur, sample_smooth_noise
from training.augmentation.presets import Augmentation

NOISE_CELLS = 12
NOISE_MAP_PX = 64
"""Side of the noise map; it is smooth enough to be resized linearly to the patch."""
MEDIAN_PX = 64
"""Number of pixels along each side for the median of tissue; sorting all pixels would be the slowest step."""


@dataclass(frozen=True)
class GasPockets:
    """A group of air pockets of random shape in bright tissue without a label."""

    noise_map: NDArray[np.float32]
    y: float
    x: float
    radius: float
    threshold: float
    blur_px: float
    brightness: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.gas_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "GasPockets":
        """Sample position and size (relative to the side), sharpness and brightness."""
        return cls(
            noise_map=sample_smooth_noise(rng, NOISE_CELLS, NOISE_MAP_PX),
            y=rng.uniform(0, 1),
            x=rng.uniform(0, 1),
            radius=rng.uniform(0.05, 0.2),
            threshold=rng.uniform(-0.5, 0.5),
            blur_px=rng.uniform(0.5, 1.0),
            brightness=rng.uniform(0.0, 0.06),
        )

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["GasPockets"]) -> Tensor:
        """Return grey values with air pockets, (k, c, h, w)."""
        grey, side = patches.grey, patches.grey.shape[-1]
        places = (torch.arange(side, device=grey.device) + 0.5) / side
        y, x = (
            patches.broadcast_per_patch([one.y for one in transforms]),
            patches.broadcast_per_patch([one.x for one in transforms]),
        )
        near = (places[:, None] - y) ** 2 + (places - x) ** 2 < patches.broadcast_per_patch(
            [one.radius for one in transforms]
        ) ** 2
        shaped = _resize_noise_maps(patches, transforms) > patches.broadcast_per_patch(
            [one.threshold for one in transforms]
        )
        pockets = (near & shaped & patches.tissue_mask).float()
        soft = gaussian_blur(pockets, [one.blur_px for one in transforms]) * patches.unlabelled_mask
        return grey * (1 - soft) + soft * patches.broadcast_per_patch([one.brightness for one in transforms])


@dataclass(frozen=True)
class Consolidations:
    """Parts of the labelled region with the brightness of the surrounding tissue."""

    noise_map: NDArray[np.float32]
    threshold: float
    blur_px: float
    density: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.consolidation_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Consolidations":
        """Sample coarseness, extent, sharpness and density."""
        return cls(
            noise_map=sample_smooth_noise(rng, int(rng.integers(4, NOISE_CELLS)), NOISE_MAP_PX),
            threshold=rng.uniform(0.3, 1.3),
            blur_px=rng.uniform(0.7, 4.0),
            density=rng.uniform(0.3, 1.0),
        )

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Consolidations"]) -> Tensor:
        """Return grey values with consolidations, (k, c, h, w)."""
        grey, labels = patches.grey, patches.labels[:, None]
        inside = (labels > 0) & (labels != IGNORE_INDEX)
        filled = inside & (
            _resize_noise_maps(patches, transforms) > patches.broadcast_per_patch([one.threshold for one in transforms])
        )
        density = gaussian_blur(filled.float(), [one.blur_px for one in transforms]) * inside
        density = density * patches.broadcast_per_patch([one.density for one in transforms])
        every = max(1, grey.shape[-1] // MEDIAN_PX)
        brightness = compute_masked_median(grey[..., ::every, ::every], patches.tissue_mask[..., ::every, ::every])
        return grey + density * (brightness - grey).clamp(min=0)


@dataclass(frozen=True)
class Cutout:
    """A mid-grey rectangle (DeVries & Taylor, 2017); its edges are relative to the side of the patch."""

    top: float
    bottom: float
    left: float
    right: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.cutout_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Cutout":
        """Sample a rectangle with sides of 1/8 to 1/3 of the patch."""
        rows, columns = rng.uniform(1 / 8, 1 / 3, 2)
        top, left = rng.uniform(0, 1 - rows), rng.uniform(0, 1 - columns)
        return cls(top, top + rows, left, left + columns)

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Cutout"]) -> Tensor:
        """Return patches with the grey rectangle, (k, c, h, w)."""
        side = patches.grey.shape[-1]
        places = (torch.arange(side, device=patches.grey.device) + 0.5) / side
        top, bottom = (
            patches.broadcast_per_patch([one.top for one in transforms]),
            patches.broadcast_per_patch([one.bottom for one in transforms]),
        )
        left, right = (
            patches.broadcast_per_patch([one.left for one in transforms]),
            patches.broadcast_per_patch([one.right for one in transforms]),
        )
        rows = (places[:, None] >= top) & (places[:, None] < bottom)
        return torch.where(rows & (places >= left) & (places < right), 0.5, patches.grey)


def _resize_noise_maps(patches: PatchSubset, transforms: Sequence[GasPockets] | Sequence[Consolidations]) -> Tensor:
    """Return the noise maps resized to the patches, (k, 1, side, side)."""
    fields = patches.broadcast_per_patch([one.noise_map[np.newaxis] for one in transforms])
    return functional.interpolate(fields, patches.grey.shape[-2:], mode="bilinear", align_corners=False)
