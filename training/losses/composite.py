"""The loss of a run: one loss, or a weighted sum of losses with fixed, scheduled or trainable weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from training.losses.losses import get_loss, takes_class_weights
from training.losses.terms import LossTerm
from training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a batch.

    Parameters
    ----------
    labels
        Class of each pixel (n, h, w), int64, or `IGNORE_INDEX`.
    mixed_labels
        Labels (n, h, w) of the images that were mixed in (MixUp); `None` without mixing.
    labels_weight
        Weight of `labels` in the mixture, in [0, 1]; `mixed_labels` have the rest.
    """

    labels: Tensor
    mixed_labels: Tensor | None = None
    labels_weight: float = 1.0


class CompositeLoss(nn.Module):
    """Weighted sum of losses.

    A trainable weight is ``exp(-s)``; ``s`` minimises the sum ``exp(-s) loss + s / 2``. So a term that stays large is
    treated as noisy and gets a lower weight (Kendall et al., Multi-task learning using uncertainty, CVPR 2018).

    Parameters
    ----------
    terms
        At least one.
    class_weights
        (classes,), for the terms that average over pixels.

    Raises
    ------
    MedSegError
        If a loss is unknown, or class weights are given but no term uses them.
    """

    def __init__(self, terms: Sequence[LossTerm], class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self._losses = [get_loss(term.name, class_weights, term.options) for term in self.terms]
        if class_weights is not None and not any(takes_class_weights(term.name) for term in self.terms):
            raise MedSegError(
                f"class weights are set, but the loss has no term that averages over pixels: "
                f"{', '.join(term.name for term in self.terms)}. Add cross_entropy, or remove class_weights."
            )
        trainable = [index for index, term in enumerate(self.terms) if term.trainable]
        self._trainable_index = {index: place for place, index in enumerate(trainable)}
        starts = [-float(np.log(self.terms[index].weight)) for index in trainable]
        self.log_variances = nn.Parameter(torch.tensor(starts)) if trainable else None

    def forward(self, logits: Tensor, targets: Targets | Tensor, progress: float = 0.0) -> Tensor:
        """Return the sum.

        Parameters
        ----------
        logits
            (n, classes, h, w).
        targets
            Labels (n, h, w), or the targets of a mixture. Its loss is the weighted sum of both losses, which works for
            every loss; for cross-entropy it is the same as soft labels.
        progress
            Completed share of the run, in [0, 1], for scheduled weights.
        """
        if isinstance(targets, Tensor):
            targets = Targets(targets)
        total = targets.labels_weight * self._compute_sum(logits, targets.labels, progress)
        if targets.mixed_labels is not None:
            total = total + (1.0 - targets.labels_weight) * self._compute_sum(logits, targets.mixed_labels, progress)
        return total if self.log_variances is None else total + 0.5 * self.log_variances.sum()

    @torch.no_grad()
    def get_weights(self, progress: float) -> list[float]:
        """Return the current weight of each term."""
        return [float(self._get_weight(index, progress)) for index in range(len(self.terms))]

    def get_changing_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of each term by name (repeated names get a number); empty if all weights are fixed."""
        if all(term.schedule == "constant" and not term.trainable for term in self.terms):
            return {}
        names = [term.name for term in self.terms]
        numbered = [name if name not in names[:at] else f"{name} {at + 1}" for at, name in enumerate(names)]
        return dict(zip(numbered, self.get_weights(progress), strict=True))

    def _compute_sum(self, logits: Tensor, labels: Tensor, progress: float) -> Tensor:
        weighted = [
            self._get_weight(index, progress) * loss(logits, labels)
            for index, loss in enumerate(self._losses)
            if self.terms[index].trainable or self.terms[index].compute_weight(progress) > 0
        ]
        return torch.stack(weighted).sum() if weighted else logits.float().sum() * 0.0

    def _get_weight(self, index: int, progress: float) -> Tensor | float:
        if self.log_variances is not None and index in self._trainable_index:
            return torch.exp(-self.log_variances[self._trainable_index[index]])
        return self.terms[index].compute_weight(progress)


def build_loss(recipe: Recipe, class_weights: Tensor | None = None) -> CompositeLoss:
    """Return the loss of a recipe; a single name is a sum with one term."""
    terms = (LossTerm(name=recipe.loss.terms),) if isinstance(recipe.loss.terms, str) else recipe.loss.terms
    return CompositeLoss(terms, class_weights)
