"""Intensity transforms: grey window, preprocessing steps, blur, contrast, brightness, gamma, noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_gamma
from torch import Tensor

from napari_medseg.inference import contrast
from training.augmentation.equalisation import apply_clahe, apply_to_brightness, equalise_histogram
from training.augmentation.patch_ops import PatchSubset, gaussian_blur
from training.augmentation.presets import Augmentation

UNCHANGED = (1.0, 1.0)
MID_GREY = 0.5


@dataclass(frozen=True)
class IntensityWindow:
    """Look through another window: what is `low` becomes black, what is `high` white.

    Our own formula: `kornia.enhance.normalize` gives the same values, but takes twice as long.
    """

    low: float
    high: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * bool(settings.window)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "IntensityWindow":
        """Sample both ends of the window."""
        low, high = rng.uniform(-settings.window, settings.window, 2)
        return cls(low, 1.0 + high)

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["IntensityWindow"]) -> Tensor:
        """Return the windowed patches."""
        low, high = (
            patches.broadcast_per_patch([one.low for one in transforms]),
            patches.broadcast_per_patch([one.high for one in transforms]),
        )
        return ((patches.grey - low) / (high - low).clamp(min=contrast.MIN_BRIGHTNESS)).clamp(0, 1)


class _PreprocessingTransform:
    """A preprocessing step that the image did not have; it has no random parameters."""

    @classmethod
    def sample(cls, _: Augmentation, _rng: np.random.Generator, _channels: int) -> Self:
        """Return the transform without sampling anything."""
        return cls()


class Equalisation(_PreprocessingTransform):
    """The step ``equalise`` of `inference.image_steps`."""

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.equalise_share

    @staticmethod
    def apply(patches: PatchSubset, _: Sequence["Equalisation"]) -> Tensor:
        """Return equalised patches."""
        return apply_to_brightness(patches.grey, equalise_histogram)


class Clahe(_PreprocessingTransform):
    """The step ``clahe`` of `inference.image_steps`, approximately."""

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.clahe_share

    @staticmethod
    def apply(patches: PatchSubset, _: Sequence["Clahe"]) -> Tensor:
        """Return locally equalised patches."""
        return apply_to_brightness(patches.grey, apply_clahe)


class Smoothing(_PreprocessingTransform):
    """The step ``smooth`` of `inference.image_steps`."""

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.smooth_share

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Smoothing"]) -> Tensor:
        """Return smoothed patches."""
        return gaussian_blur(patches.grey.clamp(0, 1), [contrast.SMOOTHING_SIGMA_PX] * len(transforms))


@dataclass(frozen=True)
class Blur:
    """Gaussian blur, as out of focus."""

    sigma_px: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * bool(settings.blur_px)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Blur":
        """Sample the sigma in pixels."""
        return cls(rng.uniform(0.3, max(0.3, settings.blur_px)))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Blur"]) -> Tensor:
        """Return blurred patches."""
        return gaussian_blur(patches.grey, [one.sigma_px for one in transforms])


@dataclass(frozen=True)
class Contrast:
    """Contrast by a factor around mid-grey, then brightness by an offset."""

    factor: float
    offset: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * (bool(settings.brightness) or settings.contrast != UNCHANGED)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Contrast":
        """Sample factor and offset."""
        return cls(rng.uniform(*settings.contrast), rng.uniform(-settings.brightness, settings.brightness))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Contrast"]) -> Tensor:
        """Return changed patches."""
        factor, brightness = (
            patches.broadcast_per_patch([one.factor for one in transforms]),
            patches.broadcast_per_patch([MID_GREY + one.offset for one in transforms]),
        )
        scaled = adjust_contrast(patches.grey - MID_GREY, factor, clip_output=False)  # about black, as kornia has it
        return adjust_brightness(scaled, brightness, clip_output=False)


@dataclass(frozen=True)
class HighlightClipping:
    """Only a share of the grey range is kept; brighter values become white."""

    kept_range: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * (settings.saturation != UNCHANGED)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "HighlightClipping":
        """Sample the share."""
        return cls(rng.uniform(*settings.saturation))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["HighlightClipping"]) -> Tensor:
        """Return brighter patches; what is too bright is clipped at the end."""
        gains = patches.broadcast_per_patch([1.0 / one.kept_range for one in transforms])
        return adjust_contrast(patches.grey, gains, clip_output=False)


@dataclass(frozen=True)
class Gamma:
    """Gamma correction: grey values to a power."""

    exponent: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * (settings.gamma != UNCHANGED)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Gamma":
        """Sample the exponent, log-uniform."""
        return cls(float(np.exp(rng.uniform(*np.log(settings.gamma)))))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Gamma"]) -> Tensor:
        """Return changed patches."""
        return adjust_gamma(patches.grey.clamp(0, 1), patches.broadcast_per_patch([one.exponent for one in transforms]))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, drawn on the device from the batch's seed; kornia draws from torch's global generator."""

    strength: float

    @staticmethod
    def get_probability(settings: Augmentation, _channels: int) -> float:
        """Return the probability for a patch."""
        return settings.intensity_share * bool(settings.noise)

    @classmethod
    def sample(cls, settings: Augmentation, rng: np.random.Generator, _channels: int) -> "Noise":
        """Sample the standard deviation."""
        return cls(rng.uniform(0, settings.noise))

    @staticmethod
    def apply(patches: PatchSubset, transforms: Sequence["Noise"]) -> Tensor:
        """Return noisy patches."""
        noise = torch.empty_like(patches.grey, memory_format=torch.contiguous_format)
        return patches.grey + patches.broadcast_per_patch([one.strength for one in transforms]) * noise.normal_(
            generator=patches.generator
        )
