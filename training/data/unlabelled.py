"""Images without labels: the batches of them that are drawn for consistency training.

Each patch has two views of the same place: the weak view is as in prediction, the strong view has the intensity
transforms of the recipe. `training.losses.consistency` compares what the network says of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_medseg.core.errors import MedSegError
from training.augmentation.patch_batch import PatchBatch
from training.augmentation.presets import Augmentation, get_augmentation, scale_augmentation
from training.augmentation.spatial import Augmenter
from training.data.dataset import BatchSampler, LabelledImage, sample_plane
from training.recipe import Recipe, UnlabelledSettings

RNG_STREAM = 0x756E6C62
"""Separates the random numbers of unlabelled patches from those of labelled ones with the same seed and step."""


@dataclass(frozen=True, eq=False)
class TwoViews:
    """The same patches twice, (n, c, h, w) float32 each, normalised: as in prediction, and strongly changed."""

    weak: Tensor
    strong: Tensor


@dataclass(frozen=True)
class UnlabelledSampler:
    """Draws patches of unlabelled images; they depend only on seed and step.

    Parameters
    ----------
    images
        Unlabelled images, drawn by weight; their labels are 0 and are not used.
    augmenter
        Cuts the patches, with the transforms of the strong view.
    batch_size
        Number of patches of a step.
    seed
        Seed of all random numbers.
    """

    images: Sequence[LabelledImage]
    augmenter: Augmenter
    batch_size: int
    seed: int

    def sample_batch(self, step: int) -> PatchBatch:
        """Draw the patches of one step, with the transforms of the strong view."""
        rng = np.random.default_rng([self.seed, step, RNG_STREAM])
        drawn = []
        for _ in range(self.batch_size):
            plane = sample_plane(self.images, rng)
            drawn.append(self.augmenter.sample_patch(plane.choose_view(rng), plane.labels, rng))
        return self.augmenter.collate(drawn, seed=int(rng.integers(2**62)))


@dataclass(frozen=True, eq=False)
class StepData:
    """The data of one step: labelled patches, and unlabelled ones if the run has any."""

    labelled: PatchBatch
    unlabelled: PatchBatch | None = None

    def to(self, device: torch.device) -> "StepData":
        """Return the data on another device."""
        return StepData(self.labelled.to(device), None if self.unlabelled is None else self.unlabelled.to(device))

    def make_patches(self) -> tuple[Tensor, Tensor]:
        """Make the labelled patches: (n, c, patch, patch) float32 and classes (n, patch, patch) int64."""
        return self.labelled.make_patches()

    def make_views(self) -> TwoViews | None:
        """Make both views of the unlabelled patches; `None` without unlabelled images."""
        if self.unlabelled is None:
            return None
        unchanged = replace(self.unlabelled, transforms=((),) * len(self.unlabelled.transforms))
        return TwoViews(unchanged.make_patches()[0], self.unlabelled.make_patches()[0])


def check_unlabelled(n_images: int, recipe: Recipe) -> None:
    """Check that a recipe and the unlabelled images of a run fit.

    Raises
    ------
    MedSegError
        If the recipe has no moving average to label them, or settings for unlabelled images but the run has none.
    """
    if not n_images and recipe.data.unlabelled != UnlabelledSettings():
        raise MedSegError(
            "the recipe has settings for unlabelled images (data.unlabelled), but the run has no such images. "
            "Give a folder of them (medseg train folders --unlabelled DIR), or remove these settings."
        )
    if n_images and any(not stage.optimiser.ema_decay for stage in recipe.resolve_stages()):
        raise MedSegError(
            "unlabelled images need a moving average of the weights, which labels them, but optimiser.ema_decay is 0. "
            "Set it, for example to 0.99, or give no unlabelled images."
        )


def make_unlabelled_sampler(
    recipe: Recipe, images: Sequence[LabelledImage], batches: BatchSampler
) -> UnlabelledSampler | None:
    """Return the sampler of a recipe, like the labelled `batches` in size and seed; `None` if there are no images.

    The strong view is that of the labelled patches without the changes that need labels.
    """
    if not images:
        return None
    settings = recipe.data.unlabelled
    strong = _make_strong(recipe.augmentation.preset, recipe.augmentation.strength, settings)
    augmenter = replace(batches.augmenter, settings=strong)
    return UnlabelledSampler(images, augmenter, settings.batch_size * recipe.optimiser.accumulate, batches.seed)


def _make_strong(preset: str, strength: float, settings: UnlabelledSettings) -> Augmentation:
    changed = scale_augmentation(get_augmentation(preset), strength * settings.strength)
    return replace(changed, zoom_to_labels_share=0.0, gas_share=0.0, consolidation_share=0.0)
