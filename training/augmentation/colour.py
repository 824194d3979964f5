"""Colour augmentations: tint of the light source, and density of stains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from kornia.enhance import adjust_contrast
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from napari_medseg.inference import contrast
from training.augmentation.patch_ops import PatchSubset
from training.augmentation.presets import Augmentation


@dataclass(frozen=True)
class Tint:
    """A random brightness factor for each channel."""

    gains: NDArray[np.float64]

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * bool(settings.tint)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, n_channels: int) -> "Tint":
        """Draw a factor for each channel."""
        return cls(rng.uniform(1.0 - settings.tint, 1.0 + settings.tint, n_channels))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Tint"]) -> Tensor:
        """Return tinted patches."""
        gains = patches.broadcast_per_patch([one.gains for one in transforms])
        return adjust_contrast(patches.grey, gains, clip_output=False)


@dataclass(frozen=True)
class Stain:
    """Random density factors of haematoxylin, eosin and residual (Tellez et al., TMI 2018); for RGB only."""

    factors: NDArray[np.float64]

    @staticmethod
    def get_probability(settings: Augmentation, n_channels: int) -> float:
        """Return the probability for a patch; 0 unless it has the colours that stains are separated by."""
        return settings.intensity_share * bool(settings.stain) * (n_channels == len(rgb_from_hed))

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Stain":
        """Draw a factor for each stain."""
        return cls(rng.uniform(1.0 - settings.stain, 1.0 + settings.stain, 3))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Stain"]) -> Tensor:
        """Return patches with changed stain densities, (k, 3, h, w)."""
        density = -torch.log(patches.grey.clamp(contrast.MIN_BRIGHTNESS, 1.0))
        mixing = patches.broadcast_per_patch(
            [hed_from_rgb @ (one.factors[:, np.newaxis] * rgb_from_hed) for one in transforms]
        )[..., 0]
        return torch.exp(-torch.einsum("kcyx,kcd->kdyx", density, mixing))
