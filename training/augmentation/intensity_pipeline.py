"""Intensity augmentations: the list of transforms, and how they are sampled for a patch and applied to a batch.

To add one, write a class in `intensity`, `colour` or `synthetic_artifacts` and add it to `INTENSITY_TRANSFORMS`. The
parameters of a transform are sampled for each patch; then it is applied at once to all patches of a batch that have it.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from training.augmentation.colour import Stain, Tint
from training.augmentation.intensity import (
    Blur,
    Clahe,
    Contrast,
    Equalisation,
    Gamma,
    HighlightClipping,
    IntensityWindow,
    Noise,
    Smoothing,
)
from training.augmentation.patch_ops import PatchSubset
from training.augmentation.presets import Augmentation
from training.augmentation.synthetic_artifacts import Consolidations, Cutout, GasPockets


class IntensityTransform(Protocol):
    """One transform with the parameters that were sampled for one patch."""

    @staticmethod
    def get_probability(settings: Augmentation, n_channels: int, /) -> float:
        """Return the probability of this transform for a patch; 0 if it cannot change this number of channels."""

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, n_channels: int) -> Self:
        """Sample the parameters for one patch."""

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence[Any]) -> Tensor:
        """Return the changed grey values (k, c, h, w); `transforms` has one entry for each patch."""


def sample_transforms(
    settings: Augmentation, rng: np.random.Generator, n_channels: int
) -> tuple[IntensityTransform, ...]:
    """Sample the transforms of a patch, each with the probability in the settings, and their parameters."""
    drawn: list[IntensityTransform] = []
    for kind in INTENSITY_TRANSFORMS:
        share = kind.get_probability(settings, n_channels)
        if share and rng.random() < share:
            drawn.append(kind.sample(settings, rng, n_channels))
    return tuple(drawn)


def apply_transforms(
    grey: Tensor, labels: Tensor, transforms: Sequence[Sequence[IntensityTransform]], seed: int
) -> Tensor:
    """Apply to each patch the transforms that were sampled for it; the result is clipped to [0, 1].

    Parameters
    ----------
    grey, labels
        (n, c, h, w) float32 and (n, h, w) int64, on one device; labels are not changed.
    transforms
        Transforms of each patch.
    seed
        Seed of the noise.
    """
    generator = _generator(grey.device, seed)
    for kind in INTENSITY_TRANSFORMS:
        drawn = {place: one for place, some in enumerate(transforms) for one in some if isinstance(one, kind)}
        if drawn:
            chosen = torch.tensor(list(drawn), device=grey.device)
            done = kind.apply(PatchSubset(grey[chosen], labels[chosen], generator), list(drawn.values()))
            grey = grey.index_copy(0, chosen, done)
    return grey.clamp(0, 1)


def _generator(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


INTENSITY_TRANSFORMS: tuple[type[IntensityTransform], ...] = (
    *(GasPockets, Consolidations),
    *(IntensityWindow, Equalisation, Clahe, Smoothing),
    *(Blur, Contrast, HighlightClipping, Gamma, Noise),
    *(Tint, Stain, Cutout),
)
"""All transforms, in the order in which they are applied."""
