"""What a network must not care about: size, place, tilt, window, noise.

One resampling does all the geometry, so that a patch is interpolated once. A mirrored patch swaps the labels of right
and left: the picture of a mirrored patient has the right lung on the other side only if we say so.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb_from_hed
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.cards import Preprocessing
from training.augmentations import Augmentation

FRAMED_SHARE_OF_PATCH = (0.75, 1.05)
FRAME_JITTER = 0.1
GAS_CELLS = 12
GAS_ONLY_ABOVE = 0.3
DARKEST = 1e-3


@dataclass(frozen=True)
class Augmenter:
    """Cuts changed patches from planes.

    Parameters
    ----------
    settings
        Ranges to draw from.
    preprocessing
        Of the card; its mean and std lead from network values to grey values and back.
    patch_px
        Side of the square patch.
    sides
        Label values that a mirror swaps; `None` where the task has no sides.
    """

    settings: Augmentation
    preprocessing: Preprocessing
    patch_px: int
    sides: tuple[int, int] | None

    def patch(
        self, plane: NDArray[np.floating], labels: NDArray[np.integer], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw one patch.

        Parameters
        ----------
        plane
            (c, h, w), normalised as the predictor does it.
        labels
            (h, w).
        rng
            All that is random here.

        Returns
        -------
        patch, labels
            (c, patch_px, patch_px) float32, and (patch_px, patch_px) int64.
        """
        mirrored = bool(rng.random() < self.settings.mirror_share)
        grid = self._grid(labels, mirrored, rng)
        padding = "border" if rng.random() < self.settings.border_share else "zeros"
        pre = self.preprocessing
        grey = torch.from_numpy(plane.astype(np.float32))[None] * pre.std + pre.mean
        grey = functional.grid_sample(grey, grid, padding_mode=padding, align_corners=False)[0]
        truth = torch.from_numpy(labels.astype(np.float32))[None, None]
        truth = functional.grid_sample(truth, grid, mode="nearest", align_corners=False)[0, 0].long()
        if mirrored and self.sides is not None:
            truth = _swapped(truth, self.sides)
        if self.settings.gas_share and rng.random() < self.settings.gas_share:
            grey = _with_gas(grey, truth, rng)
        if self.settings.shadow_share and rng.random() < self.settings.shadow_share:
            grey = _with_shadows(grey, truth, rng)
        return (self._grey_changed(grey, rng) - pre.mean) / pre.std, truth

    def _grid(self, labels: NDArray[np.integer], mirrored: bool, rng: np.random.Generator) -> Tensor:
        """Where each pixel of the patch lies in the plane, (1, patch, patch, 2), in [-1, 1] as `grid_sample` wants."""
        low, high = self.settings.scale
        scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        frame = None
        if self.settings.framed_share and rng.random() < self.settings.framed_share:
            frame = _frame(labels)
        if frame is not None:
            scale = self.patch_px / max(frame[2:]) * rng.uniform(*FRAMED_SHARE_OF_PATCH)
        stretch = 1.0 + rng.uniform(-self.settings.stretch, self.settings.stretch)
        angle = np.deg2rad(rng.uniform(-self.settings.rotation_deg, self.settings.rotation_deg))
        height, width = labels.shape
        per_pixel = np.array([1.0 / (scale * stretch), stretch / scale])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = rotation @ np.diag(per_pixel) * (self.patch_px / np.array([[width], [height]]))
        if mirrored:
            matrix[:, 0] = -matrix[:, 0]
        room = np.array([self.patch_px * per_pixel[0] / width, self.patch_px * per_pixel[1] / height])
        centre = rng.uniform(-1, 1, 2)
        if frame is None:
            centre *= np.abs(1.0 - room)
        else:
            middle = np.array([2.0 * frame[0] / width - 1.0, 2.0 * frame[1] / height - 1.0])
            centre = middle + FRAME_JITTER * room * centre
        theta = torch.tensor(np.column_stack([matrix, centre])[None], dtype=torch.float32)
        return functional.affine_grid(theta, [1, 1, self.patch_px, self.patch_px], align_corners=False)

    def _grey_changed(self, grey: Tensor, rng: np.random.Generator) -> Tensor:
        settings = self.settings

        def chosen() -> bool:
            return bool(rng.random() < settings.intensity_share)

        if settings.blur_px and chosen():
            grey = _blurred(grey, rng.uniform(0.3, max(0.3, settings.blur_px)))
        if chosen():
            grey = (grey - 0.5) * rng.uniform(*settings.contrast) + 0.5
            grey = grey + rng.uniform(-settings.brightness, settings.brightness)
        if chosen():
            grey = grey / rng.uniform(*settings.saturation)
        if chosen():
            grey = grey.clamp(0, 1) ** float(np.exp(rng.uniform(*np.log(settings.gamma))))
        if settings.noise and chosen():
            strength = rng.uniform(0, settings.noise)
            grey = grey + strength * torch.from_numpy(rng.standard_normal(grey.shape, dtype=np.float32))
        return self._colour_changed(grey, rng)

    def _colour_changed(self, grey: Tensor, rng: np.random.Generator) -> Tensor:
        settings = self.settings
        if settings.tint and rng.random() < settings.intensity_share:
            gains = rng.uniform(1.0 - settings.tint, 1.0 + settings.tint, grey.shape[0])
            grey = grey * torch.tensor(gains, dtype=torch.float32)[:, None, None]
        if settings.stain and rng.random() < settings.intensity_share:
            grey = _restained(grey, rng.uniform(1.0 - settings.stain, 1.0 + settings.stain, 3))
        if settings.cutout_share and rng.random() < settings.cutout_share:
            grey = _cut_out(grey, rng)
        return grey.clamp(0, 1)


def _restained(grey: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """Change the density of haematoxylin, eosin and residue by a factor each; grey (3, h, w) in [0, 1]."""
    density = -torch.log(grey.clamp(DARKEST, 1.0))
    stains = torch.tensor(rgb_from_hed, dtype=torch.float32)
    mixing = torch.linalg.inv(stains) @ torch.diag(torch.tensor(factors, dtype=torch.float32)) @ stains
    return torch.exp(-torch.einsum("cyx,cd->dyx", density, mixing))


def _cut_out(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Make a rectangle of up to a third of each side mid-grey."""
    height, width = grey.shape[-2:]
    rows, columns = (int(rng.integers(side // 8, side // 3)) for side in (height, width))
    top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
    grey = grey.clone()
    grey[:, top : top + rows, left : left + columns] = 0.5
    return grey


def _frame(labels: NDArray[np.integer]) -> tuple[float, float, int, int] | None:
    """Centre (x, y) and size (x, y) in pixels of all that is labelled; `None` where nothing is."""
    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    if not len(rows):
        return None
    width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    return float(columns[0]) + width / 2, float(rows[0]) + height / 2, width, height


def _swapped(labels: Tensor, sides: tuple[int, int]) -> Tensor:
    right, left = sides
    was_right, was_left = labels == right, labels == left
    return labels.masked_fill(was_right, left).masked_fill(was_left, right)


def _with_gas(grey: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Put a group of air pockets of random shape into bright tissue without a label; grey (c, h, w) in [0, 1]."""
    side = labels.shape[-1]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, GAS_CELLS, GAS_CELLS), dtype=np.float32))
    field = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    places = torch.arange(side, dtype=torch.float32)
    (y, x), radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.2) * side
    near = (places[:, None] - y) ** 2 + (places[None, :] - x) ** 2 < radius**2
    pockets = near & (field > rng.uniform(-0.5, 0.5)) & (labels == 0) & (grey.mean(dim=0) > GAS_ONLY_ABOVE)
    soft = _blurred(pockets[None].float(), rng.uniform(0.5, 1.0)) * (labels == 0)
    return grey * (1 - soft) + soft * rng.uniform(0.0, 0.06)


def _with_shadows(grey: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """Fill random patches of what is labelled up to the brightness of the tissue around; grey (c, h, w) in [0, 1]."""
    inside, tissue = labels > 0, (labels == 0) & (grey.mean(dim=0) > GAS_ONLY_ABOVE)
    if not bool(inside.any()) or not bool(tissue.any()):
        return grey
    side = labels.shape[-1]
    cells = int(rng.integers(4, GAS_CELLS))
    coarse = torch.from_numpy(rng.standard_normal((1, 1, cells, cells), dtype=np.float32))
    field = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    filled = inside & (field > rng.uniform(0.3, 1.3))
    density = rng.uniform(0.3, 1.0) * _blurred(filled[None].float(), rng.uniform(0.7, 4.0)) * inside
    return grey + density * (grey[:, tissue].median(dim=1).values[:, None, None] - grey).clamp(min=0)


def _blurred(grey: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of a (c, h, w) picture, one axis after the other."""
    radius = max(1, round(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    padded = functional.pad(grey[:, None], (radius, radius, radius, radius), mode="replicate")
    rows = functional.conv2d(padded, kernel[..., None, :])
    return functional.conv2d(rows, kernel[..., :, None])[:, 0]
