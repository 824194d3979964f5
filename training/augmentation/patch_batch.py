"""Build a batch from sampled patches: the CPU crops the planes, the training device does everything else.

All geometric changes are done by a single resampling, so that a patch is interpolated only once. Each intensity
transform is applied at once to all patches of a batch that have it.
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
from training.data.label_sets import MAX_CLASSES, get_certain_code

UNBOUNDED = ((-np.inf, np.inf), (-np.inf, np.inf))
DISPLACEMENT_GRID_PX = 64
"""Size of the smooth displacement field, which is then resized linearly to the patch."""


@dataclass(frozen=True, eq=False)
class PatchSpec:
    """The data and parameters of one patch.

    Parameters
    ----------
    pixels, labels
        (c, h, w) and (h, w): the crop of a plane that the patch needs.
    patch_to_crop
        (2, 3): maps (x, y, 1) in the patch, in [-1, 1], to x and y in the crop, in pixels from its corner.
    displacement_px
        (2, cells, cells) coarse displacements in x and y, in pixels of the plane.
    border
        First and last x, and first and last y, of the plane, if pixels outside repeat its border. `None`: they are
        black.
    swaps_sides
        Whether the values of right and left labels are exchanged.
    transforms
        Intensity transforms.
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
    """Sampled patches as tensors on one device.

    Parameters
    ----------
    pixels, labels
        (1, c, h, w) and (1, 1, h, w) for each patch; the sizes of the crops differ.
    patch_to_crop
        (n, 2, 3): maps (x, y, 1) in the patch to x and y in its crop, both in [-1, 1].
    displacement
        (n, 2, m, m) smooth displacements, as fractions of half the crop; `None` without elastic deformation.
    border
        (n, 2, 2): limits of x and of y.
    swaps_sides
        (n,) bool.
    transforms
        Intensity transforms of each patch; their few parameters are moved to the device when they are applied.
    seed
        Seed of the noise, which is generated on the device.
    preprocessing, patch_px, sides
        As in `training.augmentation.spatial.Augmenter`.
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
        """Collect patches in one batch on the CPU."""
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
        """Return the batch on another device."""
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
        """Make all patches: resample them and apply the intensity transforms, on their device.

        Returns
        -------
        patches, labels
            (n, c, patch_px, patch_px) float32, normalised, and (n, patch_px, patch_px) int64.
        """
        numbers, places = self.preprocessing, self._compute_sampling_grid()
        beside = places.clamp(self.border[:, None, None, :, 0], self.border[:, None, None, :, 1])
        # Crops differ in size, and padding would need much more memory, so each is sampled alone. Outside is 0.
        grey = numbers.std * _sample_on_grid(
            (part.float() + numbers.mean / numbers.std for part in self.pixels), beside
        )
        truth = _sample_on_grid((part.float() for part in self.labels), places, mode="nearest")[:, 0].long()
        if self.sides is not None:
            truth = torch.where(self.swaps_sides[:, None, None], _swap_side_labels(truth, self.sides), truth)
        grey = apply_transforms(grey, _unmark_certain(truth), self.transforms, self.seed)
        return (grey - numbers.mean) / numbers.std, truth

    def _compute_sampling_grid(self) -> Tensor:
        """Return the position of each pixel of each patch, (n, patch, patch, 2), in the format of `grid_sample`."""
        side = self.patch_px
        along = (torch.arange(side, device=self.patch_to_crop.device) + 0.5) * (2 / side) - 1
        of_x, of_y, fixed = (self.patch_to_crop[:, None, None, :, column] for column in range(3))
        places = (along[:, None] * of_x + fixed) + along[:, None, None] * of_y
        if self.displacement is None:
            return places
        bend = functional.interpolate(self.displacement, (side, side), mode="bilinear", align_corners=True)
        return places + bend.movedim(1, -1)


def _sample_on_grid(parts: Iterable[Tensor], grids: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample each crop (1, c, h, w) at its positions (n, patch, patch, 2); return (n, c, patch, patch)."""
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
    swapped = labels
    for one, other in ((right, left), (get_certain_code(right), get_certain_code(left))):
        swapped = swapped.masked_fill(labels == one, other).masked_fill(labels == other, one)
    return swapped


def _unmark_certain(labels: Tensor) -> Tensor:
    for value in range(MAX_CLASSES):
        labels = labels.masked_fill(labels == get_certain_code(value), value)
    return labels
