"""What is done to grey values: which changes there are, how they are drawn for a patch and done to a batch.

A new one is a class in `grey_changes`, `colour_changes` or `disguises`, and its name in `INTENSITY_TRANSFORMS`. Each is
drawn for a patch, as a few numbers, and done at once to all patches of a batch that drew it, on their device.
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
    """One change as it was drawn for one patch."""

    @staticmethod
    def get_probability(settings: Augmentation) -> float:
        """How often it is drawn."""

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, n_channels: int) -> Self:
        """Draw how much of it a patch gets."""

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence[Any]) -> Tensor:
        """Return the changed grey values; `drawn` is one for each patch."""


def sample_transforms(
    settings: Augmentation, rng: np.random.Generator, n_channels: int
) -> tuple[IntensityTransform, ...]:
    """Draw which changes a patch gets, each as often as the settings say, and how much of them."""
    drawn: list[IntensityTransform] = []
    for kind in INTENSITY_TRANSFORMS:
        share = kind.get_probability(settings)
        if share and rng.random() < share:
            drawn.append(kind.sample(settings, rng, n_channels))
    return tuple(drawn)


def apply_transforms(
    grey: Tensor, labels: Tensor, transforms: Sequence[Sequence[IntensityTransform]], seed: int
) -> Tensor:
    """Do to each patch what was drawn for it; the result in [0, 1].

    Parameters
    ----------
    grey, labels
        (n, c, h, w) and (n, h, w), on one device; labels are not changed.
    transforms
        Of each patch.
    seed
        Of the noise.
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
"""In the order in which they are done."""
