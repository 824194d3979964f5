"""Figures of one model on labelled images: what is measured of each, and how it is summed up for a card.

A label that neither model nor reference has counts as 1 in Dice and IoU, and so do precision and recall of nothing
found or nothing there; one that only one of them has counts as 0. Distances are left out where either has none.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Score
from napari_medseg.core.quality.instance_metrics import ObjectScores
from napari_medseg.core.quality.metrics import compute_bootstrap_interval

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CaseScore:
    """One model on one case; dictionaries go by label name.

    Parameters
    ----------
    dice
        Per label; of a task of instances, of all objects as one label.
    swapped
        Right and left fit better exchanged.
    seconds
        From image to labels; 0 for labels that were made elsewhere.
    hd95, mean_distance
        95th percentile and mean of the surface distance in `unit` ("mm" or "px"); empty where not measured.
    precision, recall, accuracy
        Of the voxels of each label.
    miou
        Mean IoU over all classes that prediction or reference have, background included.
    agreement
        Share of all voxels that have the right label or rightly none: the accuracy of multi-class benchmarks.
    foreground_dice
        Dice of all labels taken together, as of the infection whatever its kind.
    objects
        Figures of instances; `None` for other tasks.
    absent
        Labels that the model was not made for and the reference does not have: right for free, they do not count.
    """

    name: str
    group: str
    source: str
    dice: dict[str, float]
    swapped: bool
    seconds: float
    hd95: dict[str, float] = field(default_factory=dict)
    unit: str = "px"
    mean_distance: dict[str, float] = field(default_factory=dict)
    precision: dict[str, float] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    miou: float = 0.0
    agreement: float = 0.0
    foreground_dice: float = 0.0
    objects: ObjectScores | None = None
    absent: tuple[str, ...] = ()

    @property
    def mean_dice(self) -> float:
        """Mean over the labels that count."""
        return statistics.fmean(value for name, value in self.dice.items() if name not in self.absent)

    @property
    def metric(self) -> str:
        """Name of the figure by which versions are compared."""
        return DICE if self.objects is None else AJI

    @property
    def metric_value(self) -> float:
        """The figure by which versions are compared: of instances one that sees which pixel belongs to which."""
        return self.mean_dice if self.objects is None else self.objects.aji

    @property
    def iou(self) -> dict[str, float]:
        """Jaccard index per label; a function of the Dice."""
        return {name: value / (2.0 - value) for name, value in self.dice.items()}


@dataclass(frozen=True, eq=False)
class EvaluatedCase:
    """A case with its figures and all that they were made from; labels on the image's own grid.

    Of a partly reviewed case `counted_mask` are the voxels that count; both labels are 0 in the others.
    """

    score: CaseScore
    image: Image
    reference: Labels
    predicted: Labels
    counted_mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Evaluation:
    """One model, or labels made elsewhere, on many cases."""

    model: str
    task: str
    scores: tuple[CaseScore, ...]

    def summarise(self, labels_by: str = "the files given") -> list[Score]:
        """Return the figures of each source, and of all where there are several: first Dice, then the task's others."""
        sources = list(dict.fromkeys(score.source for score in self.scores))
        parts = {source: [score for score in self.scores if score.source == source] for source in sources}
        if len(parts) > 1:
            parts["all"] = list(self.scores)
        return [
            _summarise_metric(metric, read, name, scores, labels_by)
            for metric, read in self._select_metrics().items()
            for name, scores in parts.items()
        ]

    def _select_metrics(self) -> dict[str, Callable[[CaseScore], float]]:
        """Return what the cards and tables of such a task show."""
        metrics: dict[str, Callable[[CaseScore], float]] = {DICE: lambda score: score.mean_dice}
        if self.scores and all(score.objects is not None for score in self.scores):
            metrics |= {
                AJI: lambda score: _get_object_scores(score).aji,
                "PQ": lambda score: _get_object_scores(score).pq,
                "F1 of objects": lambda score: _get_object_scores(score).f1,
            }
        elif self.scores and len(self.scores[0].dice) > 1:
            metrics |= {
                "Dice of all labels as one": lambda score: score.foreground_dice,
                "mean IoU with background": lambda score: score.miou,
            }
        return metrics


DICE = "Dice"
AJI = "AJI"


def _get_object_scores(score: CaseScore) -> ObjectScores:
    assert score.objects is not None
    return score.objects


def _summarise_metric(
    metric: str, read: Callable[[CaseScore], float], name: str, scores: Sequence[CaseScore], labels_by: str
) -> Score:
    figures = [read(score) for score in scores]
    low, high = compute_bootstrap_interval(figures)
    labels = [name for name in scores[0].dice if name not in scores[0].absent] if metric == DICE else []
    return Score(
        dataset=name,
        metric=metric,
        n_images=len(scores),
        n_groups=len({score.group or score.name for score in scores}),
        mean=statistics.fmean(figures),
        worst=min(figures),
        ci_low=low,
        ci_high=high,
        per_label={label: statistics.fmean(score.dice[label] for score in scores) for label in labels},
        swapped_sides=sum(score.swapped for score in scores),
        labels_by=labels_by,
    )
