"""Batch augmentations: patches are mixed with each other (CutMix, mosaic, MixUp), on the device of the batch.

Pixels keep their positions in the mixed patches, so that the right lung stays on the left side of the image. Replayed
patches are not mixed, because distillation compares them with the parent, which does not know the new images.

Our own code: kornia's mixing knows one class for each picture and no label of each pixel, and draws from torch's
global generator. Its CutMix gives the same pixels for our draws, but takes six times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from training.augmentation.presets import Augmentation, get_augmentation, scale_augmentation
from training.losses.composite import Targets
from training.recipe import Recipe

RNG_STREAM = 0x6D6978
"""Separates the random numbers for mixing from those for sampling the batch with the same seed and step."""

MIXUP_ALPHA = 0.4
MOSAIC_CENTRE_RANGE = (0.25, 0.75)


@dataclass(frozen=True)
class Mixer:
    """Mixes the new patches of a batch; its random numbers depend only on seed and step.

    Parameters
    ----------
    settings
        Share of patches for CutMix and mosaics, and share of batches for MixUp.
    seed
        Seed of the run.
    """

    settings: Augmentation
    seed: int

    def mix(self, images: Tensor, labels: Tensor, step: int, n_replayed: int = 0) -> tuple[Tensor, Targets]:
        """Return the batch with some of its patches mixed; the input tensors are not changed.

        Parameters
        ----------
        images, labels
            (n, c, h, w) float32 and (n, h, w) int64, on one device.
        step
            Step of the run.
        n_replayed
            Number of patches at the start that are not mixed.
        """
        settings = self.settings
        n_new = len(images) - n_replayed
        if n_new < 2 or not (settings.cutmix_share or settings.mosaic_share or settings.mixup_share):
            return images, Targets(labels)
        rng = np.random.default_rng([self.seed, step, RNG_STREAM])
        images, labels = images.clone(), labels.clone()
        new = images[n_replayed:], labels[n_replayed:]
        if settings.mosaic_share:
            _mosaic(new, settings.mosaic_share, rng)
        if settings.cutmix_share:
            _cutmix(new, settings.cutmix_share, rng)
        if settings.mixup_share and rng.random() < settings.mixup_share:
            return _mixup(images, labels, n_replayed, rng)
        return images, Targets(labels)


def build_mixer(recipe: Recipe) -> Mixer:
    """Return the mixer of a recipe's augmentation."""
    settings = recipe.augmentation
    return Mixer(scale_augmentation(get_augmentation(settings.preset), settings.strength), recipe.run.seed)


def _cutmix(batch: tuple[Tensor, Tensor], share: float, rng: np.random.Generator) -> None:
    """Paste a rectangle of another patch, with its labels, at the same position (Yun et al., CutMix, ICCV 2019)."""
    sources = [tensor.clone() for tensor in batch]
    partners = _choose_partners(len(sources[0]), rng)
    for index, partner in enumerate(partners):
        box = _sample_cutmix_box(sources[0].shape[-2:], rng)
        if rng.random() < share:
            for tensor, source in zip(batch, sources, strict=True):
                tensor[(index, ..., *box)] = source[(partner, ..., *box)]


def _mosaic(batch: tuple[Tensor, Tensor], share: float, rng: np.random.Generator) -> None:
    """Combine parts of four patches, which meet at a random point (Bochkovskiy et al., YOLOv4, 2020).

    The parts are cropped and not resized, because the size of structures is relevant.
    """
    sources = [tensor.clone() for tensor in batch]
    height, width = sources[0].shape[-2:]
    others = [_choose_partners(len(sources[0]), rng) for _ in range(3)]
    for index in range(len(sources[0])):
        row, column = (round(side * rng.uniform(*MOSAIC_CENTRE_RANGE)) for side in (height, width))
        if rng.random() >= share:
            continue
        above, below, left, right = slice(0, row), slice(row, height), slice(0, column), slice(column, width)
        for quarter, partners in zip(((above, right), (below, left), (below, right)), others, strict=True):
            for tensor, source in zip(batch, sources, strict=True):
                tensor[(index, ..., *quarter)] = source[(partners[index], ..., *quarter)]


def _mixup(images: Tensor, labels: Tensor, n_replayed: int, rng: np.random.Generator) -> tuple[Tensor, Targets]:
    """Average each new patch with another one; labels are weighted in the same way (Zhang et al., mixup, ICLR 2018)."""
    share = float(rng.beta(MIXUP_ALPHA, MIXUP_ALPHA))
    share = max(share, 1.0 - share)  # the original patch always has the larger weight
    partners = [n_replayed + partner for partner in _choose_partners(len(images) - n_replayed, rng)]
    other = labels.clone()
    other[n_replayed:] = labels[partners]
    images[n_replayed:] = share * images[n_replayed:] + (1.0 - share) * images[partners]
    return images, Targets(labels, other, share)


def _choose_partners(n_patches: int, rng: np.random.Generator) -> list[int]:
    """Choose another patch for each patch."""
    return [int(place) for place in np.roll(np.arange(n_patches), int(rng.integers(1, n_patches)))]


def _sample_cutmix_box(shape: Sequence[int], rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a rectangle with a random share of the area, clipped at the border as in CutMix."""
    side = np.sqrt(rng.random())
    rows, columns = (
        (round(centre - length * side / 2), round(centre + length * side / 2))
        for length, centre in ((length, rng.uniform(0, length)) for length in shape)
    )
    return slice(max(0, rows[0]), min(shape[0], rows[1])), slice(max(0, columns[0]), min(shape[1], columns[1]))
