"""Drawn patches become a batch: the CPU cuts what they need from their planes, the device does all the rest.

One resampling does all the geometry, so that a patch is interpolated once; grey values are changed in all patches of a
batch that drew the same change at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.model_card import Preprocessing
from training.augmentation.intensity_pipeline import IntensityTransform, apply_transforms

UNBOUNDED = ((-np.inf, np.inf), (-np.inf, np.inf))
DISPLACEMENT_GRID_PX = 64
"""Bends are smooth by then, and are stretched evenly to the patch."""


@dataclass(frozen=True, eq=False)
class PatchSpec:
    """What a patch is made of, and how.

    Parameters
    ----------
    pixels, labels
        (c, h, w) and (h, w): the part of a plane that the patch needs.
    patch_to_crop
        (2, 3): from (x, y, 1) in the patch, in [-1, 1], to x and y in that part, in pixels from its corner.
    displacement_px
        (2, cells, cells) coarse shifts in x and y, in pixels of the plane.
    border
        First and last x, and first and last y, that the plane has, where what lies outside of it repeats its border.
        `None` where it is black.
    swaps_sides
        Whether right and left labels change their values.
    transforms
        Of grey values.
    """

    pixels: NDArray[np.floating]
    labels: NDArray[np.integer]
    patch_to_crop: NDArray[np.float64]
    displacement_px: NDArray[np.floating]
    border: tuple[tuple[float, float], tuple[float, float]] | None
    swaps_sides: bool
    transforms: Sequence[IntensityTransform]


@dataclass(frozen=True, eq=False)
class PatchBatch:
    """Drawn patches as tensors on one device.

    Parameters
    ----------
    pixels, labels
        (1, c, h, w) and (1, 1, h, w) of each patch: as large as it needs them.
    patch_to_crop
        (n, 2, 3): from (x, y, 1) in the patch to x and y in its part of a plane, both in [-1, 1].
    displacement
        (n, 2, m, m) smooth shifts, as shares of half of that part; `None` where no patch is bent.
    border
        (n, 2, 2): what x, and what y, are kept between.
    swaps_sides
        (n,)
    transforms
        Of grey values, for each patch: few numbers, which come to the device when they are done.
    seed
        Of the noise, which is drawn on the device.
    preprocessing, patch_px, sides
        As of `training.augmentation.spatial.Augmenter`.
    """

    pixels: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    patch_to_crop: Tensor
    displacement: Tensor | None
    border: Tensor
    swaps_sides: Tensor
    transforms: tuple[Sequence[IntensityTransform], ...]
    seed: int
    preprocessing: Preprocessing
    patch_px: int
    sides: tuple[int, int] | None

    @classmethod
    def collate(
        cls,
        specs: Sequence[PatchSpec],
        seed: int,
        preprocessing: Preprocessing,
        patch_px: int,
        sides: tuple[int, int] | None,
    ) -> "PatchBatch":
        """Put patches together."""
        per_px = np.array([[2 / length for length in patch.labels.shape[::-1]] for patch in specs])[..., np.newaxis]
        to_crop = np.stack([patch.patch_to_crop for patch in specs]) * per_px - [0, 0, 1]
        border = np.array([patch.border or UNBOUNDED for patch in specs]) * per_px - 1
        return cls(
            pixels=tuple(torch.from_numpy(np.ascontiguousarray(patch.pixels))[None] for patch in specs),
            labels=tuple(torch.from_numpy(np.ascontiguousarray(patch.labels))[None, None] for patch in specs),
            patch_to_crop=torch.from_numpy(to_crop.astype(np.float32)),
            displacement=_upsample_displacement(
                np.stack([patch.displacement_px for patch in specs]) * per_px[..., np.newaxis]
            ),
            border=torch.from_numpy(border.astype(np.float32)),
            swaps_sides=torch.tensor([patch.swaps_sides for patch in specs]),
            transforms=tuple(patch.transforms for patch in specs),
            seed=seed,
            preprocessing=preprocessing,
            patch_px=patch_px,
            sides=sides,
        )

    def to(self, device: torch.device) -> "PatchBatch":
        """Bring it to a device."""
        return replace(
            self,
            pixels=tuple(part.to(device) for part in self.pixels),
            labels=tuple(part.to(device) for part in self.labels),
            patch_to_crop=self.patch_to_crop.to(device),
            displacement=None if self.displacement is None else self.displacement.to(device),
            border=self.border.to(device),
            swaps_sides=self.swaps_sides.to(device),
        )

    @torch.no_grad()
    def make_patches(self) -> tuple[Tensor, Tensor]:
        """Cut and change all patches, on the device that they are on.

        Returns
        -------
        patches, labels
            (n, c, patch_px, patch_px) float32, normalised, and (n, patch_px, patch_px) int64.
        """
        numbers, places = self.preprocessing, self._compute_sampling_grid()
        beside = places.clamp(self.border[:, None, None, :, 0], self.border[:, None, None, :, 1])
        # Planes differ in size: padded to one of them, they would take many times the memory. Outside of them is 0.
        grey = numbers.std * _sample_on_grid(
            (part.float() + numbers.mean / numbers.std for part in self.pixels), beside
        )
        truth = _sample_on_grid((part.float() for part in self.labels), places, mode="nearest")[:, 0].long()
        if self.sides is not None:
            truth = torch.where(self.swaps_sides[:, None, None], _swap_side_labels(truth, self.sides), truth)
        grey = apply_transforms(grey, truth, self.transforms, self.seed)
        return (grey - numbers.mean) / numbers.std, truth

    def _compute_sampling_grid(self) -> Tensor:
        """Where each pixel of each patch lies, (n, patch, patch, 2), as `grid_sample` wants it."""
        side = self.patch_px
        along = (torch.arange(side, device=self.patch_to_crop.device) + 0.5) * (2 / side) - 1
        of_x, of_y, fixed = (self.patch_to_crop[:, None, None, :, column] for column in range(3))
        places = (along[:, None] * of_x + fixed) + along[:, None, None] * of_y
        if self.displacement is None:
            return places
        bend = functional.interpolate(self.displacement, (side, side), mode="bilinear", align_corners=True)
        return places + bend.movedim(1, -1)


def _sample_on_grid(parts: Iterable[Tensor], grids: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample each picture (1, c, h, w) at the places (n, patch, patch, 2) of its patch; (n, c, patch, patch)."""
    found = [
        functional.grid_sample(part, own[None], mode=mode, padding_mode="zeros", align_corners=False)
        for part, own in zip(parts, grids, strict=True)
    ]
    return torch.cat(found)


def _upsample_displacement(coarse: NDArray[np.floating]) -> Tensor | None:
    if not coarse.any():
        return None
    shifts = torch.from_numpy(coarse.astype(np.float32))
    return functional.interpolate(
        shifts, (DISPLACEMENT_GRID_PX, DISPLACEMENT_GRID_PX), mode="bicubic", align_corners=True
    )


def _swap_side_labels(labels: Tensor, sides: tuple[int, int]) -> Tensor:
    right, left = sides
    was_right, was_left = labels == right, labels == left
    return labels.masked_fill(was_right, left).masked_fill(was_left, right)
