"""What a network must not care about: size, place, tilt, window, noise. Here is where patches are cut from planes.

One resampling does all the geometry, so that a patch is interpolated once. A mirrored patch swaps the labels of right
and left: the picture of a mirrored patient has the right lung on the other side only if we say so.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_medseg.core.cards import Preprocessing
from napari_medseg.core.snapshots import IGNORED
from training.augmentations import Augmentation
from training.grey_changes import disguised, grey_changed

FRAMED_SHARE_OF_PATCH = (0.75, 1.05)
FRAME_JITTER = 0.1
ELASTIC_CELLS = 6


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
        self,
        plane: NDArray[np.floating],
        labels: NDArray[np.integer],
        rng: np.random.Generator,
        centre: tuple[float, float] | None = None,
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
        centre
            Row and column of the plane, in pixels, that the patch is about: its centre, or as near to it as the
            plane's border lets it. Anywhere where `None`.

        Returns
        -------
        patch, labels
            (c, patch_px, patch_px) float32, and (patch_px, patch_px) int64.
        """
        settings, pre = self.settings, self.preprocessing
        mirrored = bool(rng.random() < settings.mirror_share)
        grid = self._grid(labels, mirrored, centre, rng)
        padding = "border" if rng.random() < settings.border_share else "zeros"
        grey = torch.from_numpy(plane.astype(np.float32))[None] * pre.std + pre.mean
        grey = functional.grid_sample(grey, grid, padding_mode=padding, align_corners=False)[0]
        truth = torch.from_numpy(labels.astype(np.float32))[None, None]
        truth = functional.grid_sample(truth, grid, mode="nearest", align_corners=False)[0, 0].long()
        if mirrored and self.sides is not None:
            truth = _swapped(truth, self.sides)
        grey = grey_changed(disguised(grey, truth, settings, rng), settings, rng)
        return (grey - pre.mean) / pre.std, truth

    def _grid(
        self,
        labels: NDArray[np.integer],
        mirrored: bool,
        wanted: tuple[float, float] | None,
        rng: np.random.Generator,
    ) -> Tensor:
        """Where each pixel of the patch lies in the plane, (1, patch, patch, 2), in [-1, 1] as `grid_sample` wants."""
        settings, size = self.settings, np.array([labels.shape[1], labels.shape[0]])
        scale = float(np.exp(rng.uniform(*np.log(settings.scale))))
        framed = settings.framed_share > 0 and rng.random() < settings.framed_share
        frame = _frame(labels) if framed and wanted is None else None
        if frame is not None:
            scale = self.patch_px / max(frame[2:]) * rng.uniform(*FRAMED_SHARE_OF_PATCH)
        stretch = 1.0 + rng.uniform(-settings.stretch, settings.stretch)
        angle = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
        per_pixel = np.array([1.0 / (scale * stretch), stretch / scale])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flipped = settings.flip_share > 0 and rng.random() < settings.flip_share
        turned = np.diag(per_pixel * (1 - 2 * np.array([mirrored, flipped])))
        matrix = rotation @ turned * (self.patch_px / size[:, np.newaxis])
        room, jitter = self.patch_px * per_pixel / size, rng.uniform(-1, 1, 2)
        centre = jitter * np.abs(1.0 - room)
        if frame is not None:
            centre = 2.0 * np.array(frame[:2]) / size - 1.0 + FRAME_JITTER * room * jitter
        elif wanted is not None:
            centre = np.clip(2.0 * np.array(wanted[::-1]) / size - 1.0, -np.abs(1.0 - room), np.abs(1.0 - room))
        theta = torch.tensor(np.column_stack([matrix, centre])[None], dtype=torch.float32)
        grid = functional.affine_grid(theta, [1, 1, self.patch_px, self.patch_px], align_corners=False)
        return grid + self._wobble(size * scale, rng) if settings.elastic_px else grid

    def _wobble(self, plane_size_px: NDArray[np.floating], rng: np.random.Generator) -> Tensor:
        """Smooth random shifts (1, patch, patch, 2); the plane's (x, y) size in pixels of the patch is 2 long there."""
        coarse = rng.standard_normal((1, 2, ELASTIC_CELLS, ELASTIC_CELLS), dtype=np.float32)
        coarse *= np.float32(rng.uniform(0, self.settings.elastic_px))
        side = self.patch_px
        field = functional.interpolate(torch.from_numpy(coarse), (side, side), mode="bicubic", align_corners=True)
        return field.movedim(1, -1) * torch.tensor(2.0 / plane_size_px, dtype=torch.float32)


def _frame(labels: NDArray[np.integer]) -> tuple[float, float, int, int] | None:
    """Centre (x, y) and size (x, y) in pixels of all that is labelled; `None` where nothing is."""
    labelled = (labels > 0) & (labels != IGNORED)
    rows, columns = np.flatnonzero(labelled.any(axis=1)), np.flatnonzero(labelled.any(axis=0))
    if not len(rows):
        return None
    width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    return float(columns[0]) + width / 2, float(rows[0]) + height / 2, width, height


def _swapped(labels: Tensor, sides: tuple[int, int]) -> Tensor:
    right, left = sides
    was_right, was_left = labels == right, labels == left
    return labels.masked_fill(was_right, left).masked_fill(was_left, right)
