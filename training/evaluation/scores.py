"""Scores of one model on labelled images: the metrics of each image, and their summary for a card.

If a label is absent from both prediction and reference of an image, its Dice, IoU, precision and recall are 1; if only
one of them has it, they are 0. Distances are omitted if either of them lacks the label. A label that occurs in no
reference of a set gets no score and does not count in the mean.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.grouping.keyed_groups import choose_group_noun, key_groups
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Score
from napari_medseg.core.quality.instance_metrics import ObjectScores
from napari_medseg.core.quality.metrics import compute_bootstrap_interval
from napari_medseg.core.tasks.bundled_tasks import Task

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CaseScore:
    """Scores of one model on one case; dictionaries have label names as keys.

    Parameters
    ----------
    dice
        Dice per label; in an instance task, of all objects as one label.
    swapped
        Whether the labels fit better with right and left exchanged.
    seconds
        Duration of the prediction; 0 for existing labels.
    hd95, mean_distance
        95th percentile and mean of the surface distance in `unit` ("mm" or "px"); empty if not computed.
    precision, recall, accuracy
        Per label, over voxels.
    miou
        Mean IoU over all classes in the prediction or the reference, including background.
    agreement
        Share of all voxels with the correct class: the accuracy of multi-class benchmarks.
    foreground_dice
        Dice of all labels merged into one, for example of all kinds of lesions.
    objects
        Object scores of an instance task; `None` for other tasks.
    absent
        Labels that are not counted: those that no reference of the set contains, and those that the model cannot
        predict and this reference does not contain.
    in_reference
        Labels that the reference contains; `None` if unknown.
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
    in_reference: tuple[str, ...] | None = None

    @property
    def mean_dice(self) -> float:
        """Mean over the labels that count; 1 if none counts, because there was nothing to find."""
        return self._average(self.dice)

    @property
    def mean_iou(self) -> float:
        """Mean Jaccard index over the labels that count, as `mean_dice`."""
        return self._average(self.iou)

    @property
    def metric(self) -> str:
        """Name of the metric by which versions are compared."""
        return DICE if self.objects is None else AJI

    @property
    def metric_value(self) -> float:
        """Value of the metric by which versions are compared: mean Dice, or the AJI in an instance task."""
        return self.mean_dice if self.objects is None else self.objects.aji

    @property
    def iou(self) -> dict[str, float]:
        """Jaccard index per label, computed from the Dice."""
        return {name: value / (2.0 - value) for name, value in self.dice.items()}

    def _average(self, per_label: Mapping[str, float]) -> float:
        counting = [value for name, value in per_label.items() if name not in self.absent]
        return statistics.fmean(counting) if counting else 1.0


@dataclass(frozen=True, eq=False)
class EvaluatedCase:
    """A case with its scores, image and labels; labels are on the original grid of the image.

    For a partly reviewed case, `counted_mask` marks the reviewed voxels; both labels are 0 in all other voxels.
    """

    score: CaseScore
    image: Image
    reference: Labels
    predicted: Labels
    counted_mask: NDArray[np.bool_] | None = None


def list_absent_labels(scores: Sequence[CaseScore]) -> tuple[str, ...]:
    """Return the labels that occur in no reference of a set; none if a reference is unknown."""
    if not scores or any(score.in_reference is None for score in scores):
        return ()
    found = {name for score in scores for name in score.in_reference or ()}
    return tuple(dict.fromkeys(name for score in scores for name in score.dice if name not in found))


def exclude_absent_labels(scores: Sequence[CaseScore], absent: Sequence[str] | None = None) -> tuple[CaseScore, ...]:
    """Return the scores without labels that occur in no reference of the set.

    Parameters
    ----------
    scores
        Scores of a set.
    absent
        Labels to exclude; `None`: those that occur in none of these references. If that would be all labels, none is
        excluded.
    """
    absent = list_absent_labels(scores) if absent is None else absent
    if not scores or any(set(absent) >= set(score.dice) for score in scores):
        return tuple(scores)
    return tuple(replace(score, absent=tuple(dict.fromkeys((*score.absent, *absent)))) for score in scores)


def hide_groups(scores: Sequence[CaseScore], key: bytes, task: Task) -> tuple[CaseScore, ...]:
    """Return the scores with keyed groups: a group read from a DICOM header is a PatientID."""
    keyed = key_groups({score.group for score in scores if score.group}, key, choose_group_noun(task))
    return tuple(replace(score, group=keyed.get(score.group, "")) for score in scores)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model, or of existing labels, on many cases; labels that occur in no reference do not count."""

    model: str
    task: str
    scores: tuple[CaseScore, ...]

    def __post_init__(self) -> None:
        """Exclude the labels that occur in no reference."""
        object.__setattr__(self, "scores", exclude_absent_labels(self.scores))

    @property
    def absent_labels(self) -> tuple[str, ...]:
        """Labels that occur in no reference."""
        return list_absent_labels(self.scores)

    def summarise(self, labels_by: str = "the files given") -> list[Score]:
        """Return the scores of a card: of each source, and of all sources if there are several; Dice first.

        A source without any label in its references has no scores: they could not tell whether a model finds anything.
        """
        return self._summarise_metrics(self._select_card_metrics(), labels_by)

    def summarise_for_tables(self) -> list[Score]:
        """Return the scores of a card, and after them the other means that papers report, for every task."""
        return self._summarise_metrics(self._select_card_metrics() | TABLE_METRICS, "the files given")

    def _summarise_metrics(self, metrics: Mapping[str, Callable[[CaseScore], float]], labels_by: str) -> list[Score]:
        sources = list(dict.fromkeys(score.source for score in self.scores))
        parts = {source: [score for score in self.scores if score.source == source] for source in sources}
        if len(parts) > 1:
            parts["all"] = list(self.scores)
        return [
            _summarise_metric(metric, read, name, measured, labels_by)
            for metric, read in metrics.items()
            for name, scores in parts.items()
            if (measured := [score for score in scores if metric not in OBJECT_METRICS or score.objects is not None])
            and set(list_absent_labels(measured)) < {label for score in measured for label in score.dice}
        ]

    def _select_card_metrics(self) -> dict[str, Callable[[CaseScore], float]]:
        """Return the metrics that cards show for this task."""
        metrics: dict[str, Callable[[CaseScore], float]] = {DICE: lambda score: score.mean_dice}
        if any(score.objects is not None for score in self.scores):
            metrics |= {
                AJI: lambda score: _get_object_scores(score).aji,
                PQ: lambda score: _get_object_scores(score).pq,
                F1: lambda score: _get_object_scores(score).f1,
            }
        elif any(len(score.dice) > 1 for score in self.scores):
            metrics |= {
                "Dice of all labels as one": lambda score: score.foreground_dice,
                MEAN_IOU: lambda score: score.miou,
            }
        return metrics


DICE = "Dice"
MEAN_IOU = "mean IoU with background"
TABLE_METRICS: dict[str, Callable[[CaseScore], float]] = {
    "IoU": lambda score: score.mean_iou,
    MEAN_IOU: lambda score: score.miou,
    "accuracy": lambda score: score.agreement,
}
"""Means over images: of the Jaccard index of the labels, of that of all classes, and of the share of right voxels."""
AJI, PQ, F1 = OBJECT_METRICS = ("AJI", "PQ", "F1 of objects")


def _get_object_scores(score: CaseScore) -> ObjectScores:
    assert score.objects is not None
    return score.objects


def _summarise_metric(
    metric: str, read: Callable[[CaseScore], float], name: str, scores: Sequence[CaseScore], labels_by: str
) -> Score:
    nowhere = list_absent_labels(scores)
    scores = exclude_absent_labels(scores, nowhere)
    figures = [read(score) for score in scores]
    low, high = compute_bootstrap_interval(figures)
    uncounted = set.intersection(*(set(score.absent) for score in scores))
    told = dict.fromkeys(name for score in scores for name in score.dice)
    labels = [name for name in told if name not in uncounted] if metric == DICE else []
    return Score(
        dataset=name,
        metric=metric,
        n_images=len(scores),
        n_groups=len({score.group or score.name for score in scores}),
        mean=statistics.fmean(figures),
        worst=min(figures),
        ci_low=low,
        ci_high=high,
        per_label={
            label: statistics.fmean(
                score.dice[label] for score in scores if label in score.dice and label not in score.absent
            )
            for label in labels
        },
        does_not_occur=list(nowhere),
        swapped_sides=sum(score.swapped for score in scores),
        labels_by=labels_by,
    )
