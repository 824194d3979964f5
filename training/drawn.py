"""Drawn patches become a batch: the CPU cuts what they need from their planes, the device does all the rest at once.

One resampling does all the geometry, so that a patch is interpolated once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.cards import Preprocessing
from training.grey_changes import changed
from training.patches import Numbers

FRAME_PX = 1
"""What lies outside of a part of a plane is that of its frame."""
ANYWHERE = (-np.inf, np.inf, -np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class DrawnPatch:
    """What a patch is made of, and how.

    Parameters
    ----------
    pixels, labels
        (c, h, w) and (h, w): the part of a plane that the patch needs.
    to_crop
        (2, 3): from (x, y, 1) in the patch, in [-1, 1], to x and y in that part, in pixels from its corner.
    bend_px
        (2, cells, cells) coarse shifts in x and y, in pixels of the plane.
    border
        First and last x, then first and last y, that the plane has; what lies outside of it repeats its border. `None`
        where it is black.
    swaps_sides
        Whether right and left labels change their values.
    changes
        Of grey values: numbers by the names of `GREY_CHANGES`.
    """

    pixels: NDArray[np.floating]
    labels: NDArray[np.integer]
    to_crop: NDArray[np.float64]
    bend_px: NDArray[np.floating]
    border: tuple[float, ...] | None
    swaps_sides: bool
    changes: dict[str, Numbers]


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """Drawn patches as few large tensors.

    Parameters
    ----------
    pixels, labels
        (n, c, h, w) and (n, 1, h, w): each part of a plane in the upper left corner, in a frame of a black pixel.
    to_crop, bend, border
        As in `DrawnPatch`, but for all patches and in [-1, 1] over the width and height of the batch; `bend` is `None`
        where no patch is bent.
    swaps_sides
        (n,)
    changes
        Of each patch. They stay numpy's: what a change needs of them is small.
    seed
        Of the noise, which is drawn on the device.
    preprocessing, patch_px, sides
        As of `training.augment.Augmenter`.
    """

    pixels: Tensor
    labels: Tensor
    to_crop: Tensor
    bend: Tensor | None
    border: Tensor
    swaps_sides: Tensor
    changes: tuple[dict[str, Numbers], ...]
    seed: int
    preprocessing: Preprocessing
    patch_px: int
    sides: tuple[int, int] | None

    @classmethod
    def of(
        cls,
        drawn: Sequence[DrawnPatch],
        seed: int,
        preprocessing: Preprocessing,
        patch_px: int,
        sides: tuple[int, int] | None,
    ) -> "DrawnBatch":
        """Put patches together."""
        shape = np.max([patch.labels.shape for patch in drawn], axis=0) + 2 * FRAME_PX
        of_pixels = np.result_type(*(patch.pixels for patch in drawn))
        black = -preprocessing.mean / preprocessing.std
        pixels = np.full((len(drawn), len(drawn[0].pixels), *shape), black, of_pixels)
        labels = np.zeros((len(drawn), 1, *shape), np.uint8)
        for index, patch in enumerate(drawn):
            rows, columns = (slice(FRAME_PX, FRAME_PX + length) for length in patch.labels.shape)
            pixels[index, :, rows, columns], labels[index, 0, rows, columns] = patch.pixels, patch.labels
        per_px = 2.0 / shape[::-1]
        to_crop = np.stack([patch.to_crop for patch in drawn]) + np.array([0, 0, FRAME_PX])
        border = np.array([ANYWHERE if patch.border is None else patch.border for patch in drawn]).reshape(-1, 2, 2)
        bend = np.stack([patch.bend_px for patch in drawn]) * per_px[:, None, None]
        return cls(
            pixels=torch.from_numpy(pixels),
            labels=torch.from_numpy(labels),
            to_crop=torch.from_numpy((to_crop * per_px[:, None] - [0, 0, 1]).astype(np.float32)),
            bend=torch.from_numpy(bend.astype(np.float32)) if bend.any() else None,
            border=torch.from_numpy(((border + FRAME_PX) * per_px[:, None] - 1).astype(np.float32)),
            swaps_sides=torch.tensor([patch.swaps_sides for patch in drawn]),
            changes=tuple(patch.changes for patch in drawn),
            seed=seed,
            preprocessing=preprocessing,
            patch_px=patch_px,
            sides=sides,
        )

    def to(self, device: torch.device) -> "DrawnBatch":
        """Bring it to a device."""
        return replace(
            self,
            pixels=self.pixels.to(device),
            labels=self.labels.to(device),
            to_crop=self.to_crop.to(device),
            bend=None if self.bend is None else self.bend.to(device),
            border=self.border.to(device),
            swaps_sides=self.swaps_sides.to(device),
        )

    @torch.no_grad()
    def patches(self) -> tuple[Tensor, Tensor]:
        """Cut and change all patches, on the device that they are on.

        Returns
        -------
        patches, labels
            (n, c, patch_px, patch_px) float32, normalised, and (n, patch_px, patch_px) int64.
        """
        places = self._places()
        first, last = (self.border[:, None, None, :, end] for end in (0, 1))
        beside = places.clamp(first, last)
        images = functional.grid_sample(self.pixels.float(), beside, padding_mode="border", align_corners=False)
        truth = functional.grid_sample(
            self.labels.float(), places, mode="nearest", padding_mode="border", align_corners=False
        )
        truth = truth[:, 0].long()
        if self.sides is not None:
            truth = torch.where(self.swaps_sides[:, None, None], _swapped(truth, self.sides), truth)
        grey = images * self.preprocessing.std + self.preprocessing.mean
        grey = changed(grey, truth, self.changes, self.seed)
        return (grey - self.preprocessing.mean) / self.preprocessing.std, truth

    def _places(self) -> Tensor:
        """Where each pixel of each patch lies, (n, patch, patch, 2), as `grid_sample` wants it."""
        side = self.patch_px
        along = (torch.arange(side, device=self.to_crop.device) + 0.5) * (2 / side) - 1
        of_x, of_y, fixed = (self.to_crop[:, None, None, :, column] for column in range(3))
        places = (along[:, None] * of_x + fixed) + along[:, None, None] * of_y
        if self.bend is None:
            return places
        bend = functional.interpolate(self.bend, (side, side), mode="bicubic", align_corners=True)
        return places + bend.movedim(1, -1)


def _swapped(labels: Tensor, sides: tuple[int, int]) -> Tensor:
    right, left = sides
    was_right, was_left = labels == right, labels == left
    return labels.masked_fill(was_right, left).masked_fill(was_left, right)
