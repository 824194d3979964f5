"""What is done to grey values: which changes there are, how they are drawn for a patch and done to a batch.

A new one is a class in `grey_changes`, `colour_changes` or `disguises`, and its name in `GREY_CHANGES`. Each is drawn
for a patch, as a few numbers, and done at once to all patches of a batch that drew it, on their device.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from training.augmentation.colour import Stain, Tint
from training.augmentation.intensity import Blur, Clahe, Contrast, Equalise, Gamma, Noise, Saturation, Smooth, Window
from training.augmentation.patch_ops import Patches
from training.augmentation.presets import Augmentation
from training.augmentation.synthetic_artifacts import Cutout, Gas, Shadows


class Change(Protocol):
    """One change as it was drawn for one patch."""

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often it is drawn."""

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, n_channels: int) -> Self:
        """Draw how much of it a patch gets."""

    @staticmethod
    def done(patches: Patches, drawn: Sequence[Any]) -> Tensor:
        """Return the changed grey values; `drawn` is one for each patch."""


def draw_changes(settings: Augmentation, rng: np.random.Generator, n_channels: int) -> tuple[Change, ...]:
    """Draw which changes a patch gets, each as often as the settings say, and how much of them."""
    drawn: list[Change] = []
    for kind in GREY_CHANGES:
        share = kind.share(settings)
        if share and rng.random() < share:
            drawn.append(kind.draw(settings, rng, n_channels))
    return tuple(drawn)


def changed(grey: Tensor, labels: Tensor, changes: Sequence[Sequence[Change]], seed: int) -> Tensor:
    """Do to each patch what was drawn for it; the result in [0, 1].

    Parameters
    ----------
    grey, labels
        (n, c, h, w) and (n, h, w), on one device; labels are not changed.
    changes
        Of each patch.
    seed
        Of the noise.
    """
    generator = _generator(grey.device, seed)
    for kind in GREY_CHANGES:
        drawn = {place: one for place, some in enumerate(changes) for one in some if isinstance(one, kind)}
        if drawn:
            chosen = torch.tensor(list(drawn), device=grey.device)
            done = kind.done(Patches(grey[chosen], labels[chosen], generator), list(drawn.values()))
            grey = grey.index_copy(0, chosen, done)
    return grey.clamp(0, 1)


def _generator(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


GREY_CHANGES: tuple[type[Change], ...] = (
    *(Gas, Shadows),
    *(Window, Equalise, Clahe, Smooth),
    *(Blur, Contrast, Saturation, Gamma, Noise),
    *(Tint, Stain, Cutout),
)
"""In the order in which they are done."""
