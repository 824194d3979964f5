"""Changes of colours: the lamp's and the stain's."""

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
    """Another brightness of each colour."""

    gains: NDArray[np.float64]

    @staticmethod
    def get_probability(settings: Augmentation) -> float:
        """How often."""
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
    """Another density of haematoxylin, eosin and residue; for three channels."""

    factors: NDArray[np.float64]

    @staticmethod
    def get_probability(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * bool(settings.stain)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Stain":
        """Draw a factor for each stain."""
        return cls(rng.uniform(1.0 - settings.stain, 1.0 + settings.stain, 3))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Stain"]) -> Tensor:
        """Return patches stained otherwise."""
        density = -torch.log(patches.grey.clamp(contrast.MIN_BRIGHTNESS, 1.0))
        mixing = patches.broadcast_per_patch(
            [hed_from_rgb @ (one.factors[:, np.newaxis] * rgb_from_hed) for one in transforms]
        )[..., 0]
        return torch.exp(-torch.einsum("kcyx,kcd->kdyx", density, mixing))
