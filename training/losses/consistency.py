"""Consistency training on images without labels.

The moving average of the network labels the weak view of a patch, where it is certain enough. The network learns these
labels on the strong view of the same patch. This is FixMatch (Sohn et al., NeurIPS 2020) for pixels, with CutMix of
strong views, as in UniMatch (Yang et al., Revisiting weak-to-strong consistency in semi-supervised semantic
segmentation, CVPR 2023), and with a mean teacher (Tarvainen & Valpola, NeurIPS 2017).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX
from napari_medseg.networks.precision import choose_memory_format, make_autocast
from training.augmentation.mixing import Mixer
from training.augmentation.presets import Augmentation
from training.data.unlabelled import TwoViews
from training.recipe import Recipe, UnlabelledSettings

SEED_OFFSET = 1_000_003
"""Separates the random numbers of CutMix of unlabelled patches from those of labelled ones."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the network learns from the unlabelled patches of one step.

    Parameters
    ----------
    images
        Strong views (n, c, h, w).
    labels
        Pseudo-labels (n, h, w), int64; `IGNORE_INDEX` where the teacher is not certain.
    settings
        Weight of the loss and its ramp.
    """

    images: Tensor
    labels: Tensor
    settings: UnlabelledSettings

    def compute_loss(self, logits: Tensor, progress: float) -> Tensor:
        """Return the weighted loss of the logits (n, classes, h, w) at a completed share of the run, in [0, 1]."""
        weight = self.settings.weight * compute_ramp(progress, self.settings.ramp)
        return weight * consistency_loss(logits, self.labels)


@torch.no_grad()
def make_lesson(teacher: nn.Module | None, views: TwoViews, recipe: Recipe, step: int, n_parts: int) -> Lesson:
    """Let the teacher label the weak views, and mix the strong views, with these labels, by CutMix.

    Parameters
    ----------
    teacher
        The moving average of the network, in evaluation mode.
    views
        Two views of the unlabelled patches of the step.
    recipe
        Its seed, precision and settings for unlabelled images are used.
    step
        Counted over the whole run; the seed of CutMix.
    n_parts
        Number of parts in which the patches pass through the teacher.
    """
    assert teacher is not None, "`check_unlabelled` refuses a recipe without a moving average"
    settings, device = recipe.data.unlabelled, next(teacher.parameters()).device
    weak, strong = (one.to(device, memory_format=choose_memory_format(device)) for one in (views.weak, views.strong))
    with make_autocast(device, recipe.run.precision):
        said = torch.cat([teacher(part) for part in weak.chunk(n_parts)])
    labels = make_pseudo_labels(said, settings.threshold)
    mixer = Mixer(Augmentation(cutmix_share=settings.cutmix_share), recipe.run.seed + SEED_OFFSET)
    mixed, targets = mixer.mix(strong, labels, step)
    return Lesson(mixed, targets.labels, settings)


def make_pseudo_labels(logits: Tensor, threshold: float) -> Tensor:
    """Return the most probable class of each pixel, or `IGNORE_INDEX` where its probability is below the threshold.

    Parameters
    ----------
    logits
        (n, classes, h, w) of the weak view.
    threshold
        Probability in (0, 1).

    Returns
    -------
    Tensor
        (n, h, w), int64.
    """
    probability, label = torch.softmax(logits.float(), dim=1).max(dim=1)
    return label.masked_fill(probability < threshold, IGNORE_INDEX)


def consistency_loss(logits: Tensor, pseudo_labels: Tensor) -> Tensor:
    """Return the cross-entropy of the strong view against its pseudo-labels; uncertain pixels count as 0 in the mean.

    So the loss is small while the teacher is certain of few pixels.

    Parameters
    ----------
    logits
        (n, classes, h, w) of the strong view.
    pseudo_labels
        (n, h, w), int64, from `make_pseudo_labels`.
    """
    costs = functional.cross_entropy(logits.float(), pseudo_labels, ignore_index=IGNORE_INDEX, reduction="none")
    return costs.mean()


def compute_ramp(progress: float, ramp: float) -> float:
    """Return the factor of the loss at a completed share of the run: from 0 to 1 over the share `ramp`, then 1.

    It rises as in Laine & Aila, Temporal ensembling, ICLR 2017.
    """
    if progress >= ramp:
        return 1.0
    return float(torch.exp(torch.tensor(-5.0 * (1.0 - progress / ramp) ** 2)))
