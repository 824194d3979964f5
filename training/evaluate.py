"""How good a version is on labelled images it never saw: the same figures for the trainer, the card and `medseg`.

Dice of each label on the whole image in its own grid, as a user gets it (postprocessing included), averaged over
images. A label that neither the model nor the reference has counts as 1, one that only one of them has as 0.
"""

import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from napari_medseg.core.checks import swap_sides
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.cards import Score
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.metrics import bootstrap_interval, per_label_dice, surface_distances
from napari_medseg.core.tasks import Task
from napari_medseg.inference.predictor import Predictor
from training.pairs import LabelledCase, pair_by_stem


@dataclass(frozen=True)
class CaseScore:
    """One model on one case, per label name.

    `hd95` is the 95th percentile of the surface distance in `unit` ("mm" or "px"); empty where it was not measured,
    without the labels that prediction or reference lack. `swapped`: right and left fit better exchanged.
    """

    name: str
    group: str
    source: str
    dice: dict[str, float]
    swapped: bool
    seconds: float
    hd95: dict[str, float]
    unit: str = "px"

    @property
    def mean_dice(self) -> float:
        """Mean over labels."""
        return statistics.fmean(self.dice.values())

    @property
    def iou(self) -> dict[str, float]:
        """Jaccard index per label; a function of the Dice."""
        return {name: value / (2.0 - value) for name, value in self.dice.items()}


@dataclass(frozen=True)
class Evaluation:
    """One model on many cases."""

    model: str
    task: str
    scores: tuple[CaseScore, ...]

    def summary(self, labels_by: str = "the files given") -> list[Score]:
        """Return one figure for each source, and one for all where there are several sources."""
        sources = list(dict.fromkeys(score.source for score in self.scores))
        parts = {source: [score for score in self.scores if score.source == source] for source in sources}
        if len(parts) > 1:
            parts["all"] = list(self.scores)
        return [_summary(name, scores, labels_by) for name, scores in parts.items()]


def evaluate(predictor: Predictor, cases: Sequence[LabelledCase], task: Task) -> Evaluation:
    """Predict every case and measure it against its labels, surface distances included."""
    return Evaluation(predictor.card.id, task.name, tuple(score_cases(predictor, cases, task)))


def score_cases(predictor: Predictor, cases: Sequence[LabelledCase], task: Task) -> Iterator[CaseScore]:
    """Yield the figures of each case as soon as they are there; as `evaluate`."""
    for case in cases:
        image, reference = _read(case)
        predicted, seconds = _predicted(predictor, image)
        score = _overlap(case, predicted, reference, task)
        distances, unit = _distances(predicted, reference, image, task)
        yield replace(score, seconds=seconds, hd95=distances, unit=unit)


def dice_of(predictor: Predictor, case: LabelledCase, task: Task) -> CaseScore:
    """Measure one case without surface distances, which cost more than the prediction."""
    image, reference = _read(case)
    predicted, seconds = _predicted(predictor, image)
    return replace(_overlap(case, predicted, reference, task), seconds=seconds)


def evaluate_folder(
    predictor: Predictor, images: Path, labels: Path, task: Task, only: str = "", group: str = ""
) -> Evaluation:
    """Evaluate a folder of images against a folder of labels; files of the same stem belong together.

    Parameters
    ----------
    predictor
        The model.
    images, labels
        Folders. An image without labels is left out; labels without an image are an error.
    task
        Whose labels these are.
    only
        Regular expression; cases whose stem it does not match from its start on are left out. All where empty.
    group
        Regular expression; its match in the stem, or its first parenthesis, is the patient, slide or video.

    Raises
    ------
    MedSegError
        If nothing fits together, or a file cannot be read.
    """
    cases = pair_by_stem(images, labels)
    chosen = [replace(case, group=_group_of(case.name, group)) for case in cases if re.match(only, case.name)]
    if not chosen:
        raise MedSegError(f"no case in {images} matches {only!r}; there are {', '.join(c.name for c in cases[:5])} ...")
    return evaluate(predictor, chosen, task)


def _read(case: LabelledCase) -> tuple[Image, NDArray[np.integer]]:
    image = formats.read(case.image)
    return image, formats.read_labels(case.labels, image)


def _predicted(predictor: Predictor, image: Image) -> tuple[NDArray[np.integer], float]:
    began = time.monotonic()
    return predictor.labels_of(image), time.monotonic() - began


def _overlap(
    case: LabelledCase, predicted: NDArray[np.integer], reference: NDArray[np.integer], task: Task
) -> CaseScore:
    values = [label.value for label in task.labels]
    dice = per_label_dice(predicted, reference, values)
    swapped = False
    if task.sides is not None:
        exchanged = per_label_dice(swap_sides(predicted, task), reference, values)
        swapped = sum(exchanged[side] for side in task.sides) > sum(dice[side] for side in task.sides)
    by_name = {task.label_name(value): figure for value, figure in dice.items()}
    return CaseScore(case.name, case.group, case.source, by_name, swapped, 0.0, {})


def _distances(
    predicted: NDArray[np.integer], reference: NDArray[np.integer], image: Image, task: Task
) -> tuple[dict[str, float], str]:
    spacing = image.spacing_mm or (1.0,) * reference.ndim
    distances = {}
    for label in task.labels:
        ours, theirs = predicted == label.value, reference == label.value
        if ours.any() and theirs.any():
            distances[label.name] = float(surface_distances(ours, theirs, spacing).hd95)
    return distances, "px" if image.spacing_mm is None else "mm"


def _summary(name: str, scores: Sequence[CaseScore], labels_by: str) -> Score:
    means = [score.mean_dice for score in scores]
    low, high = bootstrap_interval(means)
    return Score(
        dataset=name,
        n_images=len(scores),
        n_groups=len({score.group or score.name for score in scores}),
        mean=statistics.fmean(means),
        worst=min(means),
        ci_low=low,
        ci_high=high,
        per_label={label: statistics.fmean(score.dice[label] for score in scores) for label in scores[0].dice},
        swapped_sides=sum(score.swapped for score in scores),
        labels_by=labels_by,
    )


def _group_of(stem: str, pattern: str) -> str:
    if not pattern or (match := re.search(pattern, stem)) is None:
        return ""
    return match.group(1) if match.groups() else match.group(0)
