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

from napari_medseg.core.snapshot import IGNORED
from training.augmentation.patch_ops import Patches, blurred, median_of, smooth_field
from training.augmentation.presets import Augmentation

CELLS = 12
FIELD_PX = 64
"""A field is drawn so large; several pixels to a cell are smooth enough to be stretched evenly to the patch."""
MEDIAN_PX = 64
"""Of tissue so many pixels along each side are enough: sorting all would take longer than all other changes."""


@dataclass(frozen=True)
class Gas:
    """A group of air pockets of random shape in bright tissue without a label."""

    field: NDArray[np.float32]
    y: float
    x: float
    radius: float
    above: float
    blur_px: float
    brightness: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.gas_share

    @classmethod
    def draw(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Gas":
        """Draw where it is, as shares of the side, how large, how sharp and how dark."""
        return cls(
            field=smooth_field(rng, CELLS, FIELD_PX),
            y=rng.uniform(0, 1),
            x=rng.uniform(0, 1),
            radius=rng.uniform(0.05, 0.2),
            above=rng.uniform(-0.5, 0.5),
            blur_px=rng.uniform(0.5, 1.0),
            brightness=rng.uniform(0.0, 0.06),
        )

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Gas"]) -> Tensor:
        """Return grey values with gas."""
        grey, side = patches.grey, patches.grey.shape[-1]
        places = (torch.arange(side, device=grey.device) + 0.5) / side
        y, x = patches.each([one.y for one in drawn]), patches.each([one.x for one in drawn])
        near = (places[:, None] - y) ** 2 + (places - x) ** 2 < patches.each([one.radius for one in drawn]) ** 2
        shaped = _field(patches, drawn) > patches.each([one.above for one in drawn])
        pockets = (near & shaped & patches.tissue).float()
        soft = blurred(pockets, [one.blur_px for one in drawn]) * patches.unlabelled
        return grey * (1 - soft) + soft * patches.each([one.brightness for one in drawn])


@dataclass(frozen=True)
class Shadows:
    """Patches of what is labelled, filled up to the brightness of the tissue around."""

    field: NDArray[np.float32]
    above: float
    blur_px: float
    density: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.shadow_share

    @classmethod
    def draw(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Shadows":
        """Draw how coarse they are, how much they fill, how sharp and how dense."""
        return cls(
            field=smooth_field(rng, int(rng.integers(4, CELLS)), FIELD_PX),
            above=rng.uniform(0.3, 1.3),
            blur_px=rng.uniform(0.7, 4.0),
            density=rng.uniform(0.3, 1.0),
        )

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Shadows"]) -> Tensor:
        """Return grey values with shadows."""
        grey, labels = patches.grey, patches.labels[:, None]
        inside = (labels > 0) & (labels != IGNORED)
        filled = inside & (_field(patches, drawn) > patches.each([one.above for one in drawn]))
        density = blurred(filled.float(), [one.blur_px for one in drawn]) * inside
        density = density * patches.each([one.density for one in drawn])
        every = max(1, grey.shape[-1] // MEDIAN_PX)
        brightness = median_of(grey[..., ::every, ::every], patches.tissue[..., ::every, ::every])
        return grey + density * (brightness - grey).clamp(min=0)


@dataclass(frozen=True)
class Cutout:
    """A rectangle made mid-grey; its edges are shares of the side."""

    top: float
    bottom: float
    left: float
    right: float

    @staticmethod
    def share(settings: Augmentation) -> float:
        """How often."""
        return settings.cutout_share

    @classmethod
    def draw(cls, _: Augmentation, rng: np.random.Generator, _channels: int) -> "Cutout":
        """Draw a rectangle of an eighth to a third of each side."""
        rows, columns = rng.uniform(1 / 8, 1 / 3, 2)
        top, left = rng.uniform(0, 1 - rows), rng.uniform(0, 1 - columns)
        return cls(top, top + rows, left, left + columns)

    @staticmethod
    def done(patches: Patches, drawn: Sequence["Cutout"]) -> Tensor:
        """Return patches without what was in it."""
        side = patches.grey.shape[-1]
        places = (torch.arange(side, device=patches.grey.device) + 0.5) / side
        top, bottom = patches.each([one.top for one in drawn]), patches.each([one.bottom for one in drawn])
        left, right = patches.each([one.left for one in drawn]), patches.each([one.right for one in drawn])
        rows = (places[:, None] >= top) & (places[:, None] < bottom)
        return torch.where(rows & (places >= left) & (places < right), 0.5, patches.grey)


def _field(patches: Patches, drawn: Sequence[Gas] | Sequence[Shadows]) -> Tensor:
    """Return the smooth fields (k, 1, side, side)."""
    fields = patches.each([one.field[np.newaxis] for one in drawn])
    return functional.interpolate(fields, patches.grey.shape[-2:], mode="bilinear", align_corners=False)
