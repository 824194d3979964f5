"""Air and shadows that were not there: a network learns that not all that is dark is lung, nor all that is bright not.

Each is drawn for a patch, and done to all patches of a batch that drew it.
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
"""A field is drawn so large; several pixels to a cell are smooth enough to be stretched evenly to the patch."""
MEDIAN_PX = 64
"""Of tissue so many pixels along each side are enough: sorting all would take longer than all other changes."""


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
    def get_probability(settings: Augmentation) -> float:
        """How often."""
        return settings.gas_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "GasPockets":
        """Draw where it is, as shares of the side, how large, how sharp and how dark."""
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
        """Return grey values with gas."""
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
    """Patches of what is labelled, filled up to the brightness of the tissue around."""

    noise_map: NDArray[np.float32]
    threshold: float
    blur_px: float
    density: float

    @staticmethod
    def get_probability(settings: Augmentation) -> float:
        """How often."""
        return settings.consolidation_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Consolidations":
        """Draw how coarse they are, how much they fill, how sharp and how dense."""
        return cls(
            noise_map=sample_smooth_noise(rng, int(rng.integers(4, NOISE_CELLS)), NOISE_MAP_PX),
            threshold=rng.uniform(0.3, 1.3),
            blur_px=rng.uniform(0.7, 4.0),
            density=rng.uniform(0.3, 1.0),
        )

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Consolidations"]) -> Tensor:
        """Return grey values with shadows."""
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
    """A rectangle made mid-grey; its edges are shares of the side."""

    top: float
    bottom: float
    left: float
    right: float

    @staticmethod
    def get_probability(settings: Augmentation) -> float:
        """How often."""
        return settings.cutout_share

    @classmethod
    def sample(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Cutout":
        """Draw a rectangle of an eighth to a third of each side."""
        rows, columns = rng.uniform(1 / 8, 1 / 3, 2)
        top, left = rng.uniform(0, 1 - rows), rng.uniform(0, 1 - columns)
        return cls(top, top + rows, left, left + columns)

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Cutout"]) -> Tensor:
        """Return patches without what was in it."""
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
    """Return the smooth fields (k, 1, side, side)."""
    fields = patches.broadcast_per_patch([one.noise_map[np.newaxis] for one in transforms])
    return functional.interpolate(fields, patches.grey.shape[-2:], mode="bilinear", align_corners=False)
