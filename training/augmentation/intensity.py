"""Changes of grey values: another window, preparation, focus, contrast, brightness, noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from napari_medseg.inference import contrast
from training.augmentation.equalisation import on_brightness, spread_evenly, spread_in_tiles
from training.augmentation.patch_ops import Patches, blurred
from training.augmentation.presets import Augmentation

UNCHANGED = (1.0, 1.0)


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
        return ((patches.grey - low) / (high - low).clamp(min=contrast.DARKEST)).clamp(0, 1)


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
        return blurred(patches.grey.clamp(0, 1), [contrast.SMOOTHING_PX] * len(drawn))


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
