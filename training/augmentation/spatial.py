"""Sampling of augmented patches: size, position, rotation, window, noise. Parameters are sampled on the CPU.

They are applied later to a whole batch on the training device: see `training.augmentation.patch_batch`. A mirrored
patch exchanges the labels of the right and left side, because the mirrored image shows each on the other side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.model_card import Preprocessing
from napari_medseg.core.snapshot import IGNORE_INDEX
from training.augmentation.intensity_pipeline import sample_transforms
from training.augmentation.patch_batch import PatchBatch, PatchSpec
from training.augmentation.presets import Augmentation

ZOOM_SHARE_OF_PATCH = (0.75, 1.05)
ZOOM_JITTER = 0.1
ELASTIC_CELLS = 6
BICUBIC_OVERSHOOT = 1.9
"""Upper limit of the sum of the absolute weights of bicubic interpolation in a plane; the weights sum to 1."""
MARGIN_PX = 2


@dataclass(frozen=True)
class Augmenter:
    """Samples augmented patches of planes.

    Parameters
    ----------
    settings
        Ranges of the random parameters.
    preprocessing
        Preprocessing of the card; its mean and std convert network values to grey values and back.
    patch_px
        Side of the square patch in pixels.
    sides
        Label values that are exchanged by mirroring; `None` if the task has no sides.
    """

    settings: Augmentation
    preprocessing: Preprocessing
    patch_px: int
    sides: tuple[int, int] | None

    def sample_patch(
        self,
        plane: NDArray[np.floating],
        labels: NDArray[np.integer],
        rng: np.random.Generator,
        centre: tuple[float, float] | None = None,
    ) -> PatchSpec:
        """Sample one patch.

        Parameters
        ----------
        plane
            (c, h, w), float, normalised as for prediction.
        labels
            (h, w), integers.
        rng
            Random number generator.
        centre
            Row and column of the centre of the patch, in pixels of the plane; moved if the patch would leave the plane.
            `None`: a random position.

        Returns
        -------
        PatchSpec
            Data and parameters of the patch; `collate` makes a batch of several.
        """
        settings = self.settings
        mirrored = bool(rng.random() < settings.mirror_share)
        to_plane, scale = self._sample_placement(labels, mirrored, centre, rng)
        bend = self._sample_displacement(scale, rng) + self._sample_lens(to_plane, rng)
        repeats_border = bool(rng.random() < settings.border_share)
        changes = sample_transforms(settings, rng, len(plane))
        columns, rows = (
            _compute_source_slice(to_plane[axis], float(np.abs(bend[axis]).max()), labels.shape[1 - axis])
            for axis in (0, 1)
        )
        to_plane[:, 2] -= columns.start, rows.start
        return PatchSpec(
            pixels=plane[:, rows, columns],
            labels=labels[rows, columns],
            patch_to_crop=to_plane,
            displacement_px=bend,
            border=(_compute_border_limits(columns, labels.shape[1]), _compute_border_limits(rows, labels.shape[0]))
            if repeats_border
            else None,
            swaps_sides=mirrored and self.sides is not None,
            transforms=changes,
        )

    def collate(self, specs: Sequence[PatchSpec], seed: int) -> PatchBatch:
        """Collect sampled patches in one batch; `seed` is for its noise."""
        return PatchBatch.collate(specs, seed, self.preprocessing, self.patch_px, self.sides)

    def _sample_placement(
        self,
        labels: NDArray[np.integer],
        mirrored: bool,
        wanted: tuple[float, float] | None,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], float]:
        """Sample the position of the patch: (2, 3) from (x, y, 1) in [-1, 1] to (x, y) in pixels; and its scale."""
        settings, size = self.settings, np.array([labels.shape[1], labels.shape[0]])
        scale = float(np.exp(rng.uniform(*np.log(settings.scale))))
        framed = settings.zoom_to_labels_share > 0 and rng.random() < settings.zoom_to_labels_share
        frame = _find_labels_box(labels) if framed and wanted is None else None
        if frame is not None:
            scale = self.patch_px / max(frame[2:]) * rng.uniform(*ZOOM_SHARE_OF_PATCH)
        stretch = 1.0 + rng.uniform(-settings.stretch, settings.stretch)
        angle = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg))
        per_pixel = np.array([1.0 / (scale * stretch), stretch / scale])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flipped = settings.flip_share > 0 and rng.random() < settings.flip_share
        turned = rotation @ np.diag(per_pixel * (1 - 2 * np.array([mirrored, flipped])))
        covered, jitter = self.patch_px * per_pixel, rng.uniform(-1, 1, 2)
        room = np.abs(size - covered) / 2
        centre = size / 2 + jitter * room
        if frame is not None:
            centre = np.array(frame[:2]) + ZOOM_JITTER * covered / 2 * jitter
        elif wanted is not None:
            corner = np.floor(np.array(wanted[::-1]) - self.patch_px / 2)  # keeps integer pixel positions
            centre = np.clip(corner + self.patch_px / 2, size / 2 - room, size / 2 + room)
        return np.column_stack([turned * self.patch_px / 2, centre]), scale

    def _sample_displacement(self, scale: float, rng: np.random.Generator) -> NDArray[np.floating]:
        """Sample coarse displacements (2, cells, cells) in x and y, in pixels of the plane."""
        if not self.settings.elastic_px:
            return np.zeros((2, ELASTIC_CELLS, ELASTIC_CELLS), np.float32)
        coarse = rng.standard_normal((2, ELASTIC_CELLS, ELASTIC_CELLS), dtype=np.float32)
        return coarse * np.float32(rng.uniform(0, self.settings.elastic_px) / scale)

    def _sample_lens(self, to_plane: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32] | float:
        """Sample the displacements of a lens, as `_sample_displacement`; 0 without lenses.

        Parameters
        ----------
        to_plane
            (2, 3) from (x, y, 1) in the patch to (x, y) in pixels of the plane.
        """
        if not self.settings.lens:
            return 0.0
        along = np.linspace(-1, 1, ELASTIC_CELLS)
        places = np.stack(np.meshgrid(along, along))
        grown = rng.uniform(-self.settings.lens, self.settings.lens) * (places**2).sum(axis=0) / 2 * places
        bend: NDArray[np.float32] = np.einsum("ij,jyx->iyx", to_plane[:, :2], grown).astype(np.float32)
        return bend


def _compute_source_slice(row: NDArray[np.float64], bend_px: float, length: int) -> slice:
    """Return the range of pixels along an axis of the plane that a patch needs; `row` is the matrix row of the axis."""
    reach = np.abs(row[:2]).sum() + BICUBIC_OVERSHOOT * bend_px + MARGIN_PX
    first = int(np.clip(np.floor(row[2] - reach), 0, length - 1))
    return slice(first, int(np.clip(np.ceil(row[2] + reach), first + 1, length)))


def _compute_border_limits(kept: slice, length: int) -> tuple[float, float]:
    """Return the centres of the plane's first and last pixel in coordinates of the crop."""
    return 0.5 - kept.start, length - 0.5 - kept.start


def _find_labels_box(labels: NDArray[np.integer]) -> tuple[float, float, int, int] | None:
    """Return centre (x, y) and size (x, y) in pixels of the box around all labels; `None` without labels."""
    labelled = (labels > 0) & (labels != IGNORE_INDEX)
    rows, columns = np.flatnonzero(labelled.any(axis=1)), np.flatnonzero(labelled.any(axis=0))
    if not len(rows):
        return None
    width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
    return float(columns[0]) + width / 2, float(rows[0]) + height / 2, width, height
