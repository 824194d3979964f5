"""What may be done to the grey values and colours of patches: one class, and its name in `GREY_CHANGES`, adds a change.

Each change is drawn for a patch, as a few numbers, and done to all patches of a batch that drew it, on their device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from napari_medseg.inference import image_steps
from training.augmentations import Augmentation
from training.colour_changes import Stain, Tint
from training.disguises import Cutout, Gas, Shadows
from training.equalising import on_brightness, spread_evenly, spread_in_tiles
from training.patches import Patches, blurred

DARKEST = 1e-3
UNCHANGED = (1.0, 1.0)


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


@dataclass(frozen=True)
class Window:
    """Look through another window: what is `low` becomes black, what is `high` white."""

    low: float
    high: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * bool(settings.window)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Window":
        """Draw both ends."""
        low, high = rng.uniform(-settings.window, settings.window, 2)
        return cls(low, 1.0 + high)

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Window"]) -> Tensor:
        """Return what is seen through them."""
        low, high = patches.each([one.low for one in drawn]), patches.each([one.high for one in drawn])
        return ((patches.grey - low) / (high - low).clamp(min=DARKEST)).clamp(0, 1)


class _Step:
    """A step of preparation that the picture did not have: nothing to draw but whether."""

    @classmethod
    def draw(cls, _: Augmentation, _rng: np.random.Generator, _channels: int) -> Self:
        """Draw nothing."""
        return cls()


class Equalise(_Step):
    """The step ``equalise`` of `inference.image_steps`."""

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.equalise_share

    @staticmethod
    def done(patches: Patches, _: Sequence["Equalise"]) -> Tensor:
        """Return equalised patches."""
        return on_brightness(patches.grey, spread_evenly)


class Clahe(_Step):
    """As the step ``clahe`` of `inference.image_steps`."""

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.clahe_share

    @staticmethod
    def done(patches: Patches, _: Sequence["Clahe"]) -> Tensor:
        """Return patches equalised region by region."""
        return on_brightness(patches.grey, spread_in_tiles)


class Smooth(_Step):
    """The step ``smooth`` of `inference.image_steps`."""

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.smooth_share

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Smooth"]) -> Tensor:
        """Return smoothed patches."""
        return blurred(patches.grey.clamp(0, 1), [image_steps.SMOOTHING_PX] * len(drawn))


@dataclass(frozen=True)
class Blur:
    """Out of focus."""

    sigma_px: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * bool(settings.blur_px)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Blur":
        """Draw how far."""
        return cls(rng.uniform(0.3, max(0.3, settings.blur_px)))

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Blur"]) -> Tensor:
        """Return blurred patches."""
        return blurred(patches.grey, [one.sigma_px for one in drawn])


@dataclass(frozen=True)
class Contrast:
    """Contrast by a factor about mid-grey, then brightness by an offset."""

    factor: float
    offset: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * (bool(settings.brightness) or settings.contrast != UNCHANGED)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Contrast":
        """Draw both."""
        return cls(rng.uniform(*settings.contrast), rng.uniform(-settings.brightness, settings.brightness))

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Contrast"]) -> Tensor:
        """Return changed patches."""
        factor, offset = patches.each([one.factor for one in drawn]), patches.each([one.offset for one in drawn])
        return (patches.grey - 0.5) * factor + 0.5 + offset


@dataclass(frozen=True)
class Saturation:
    """Only a share of the grey range is kept: what is brighter becomes white."""

    kept: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * (settings.saturation != UNCHANGED)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Saturation":
        """Draw the share."""
        return cls(rng.uniform(*settings.saturation))

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Saturation"]) -> Tensor:
        """Return brighter patches; what is too bright is clipped at the end."""
        return patches.grey / patches.each([one.kept for one in drawn])


@dataclass(frozen=True)
class Gamma:
    """Grey values to a power."""

    exponent: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * (settings.gamma != UNCHANGED)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Gamma":
        """Draw the exponent, evenly in its logarithm."""
        return cls(float(np.exp(rng.uniform(*np.log(settings.gamma)))))

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Gamma"]) -> Tensor:
        """Return changed patches."""
        return patches.grey.clamp(0, 1) ** patches.each([one.exponent for one in drawn])


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, drawn on the device."""

    strength: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.intensity_share * bool(settings.noise)

    @classmethod
    def draw(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Noise":
        """Draw its standard deviation."""
        return cls(rng.uniform(0, settings.noise))

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Noise"]) -> Tensor:
        """Return noisy patches."""
        noise = torch.empty_like(patches.grey, memory_format=torch.contiguous_format)
        return patches.grey + patches.each([one.strength for one in drawn]) * noise.normal_(generator=patches.generator)


GREY_CHANGES: tuple[type[Change], ...] = (
    *(Gas, Shadows),
    *(Window, Equalise, Clahe, Smooth),
    *(Blur, Contrast, Saturation, Gamma, Noise),
    *(Tint, Stain, Cutout),
)
"""In the order in which they are done."""
