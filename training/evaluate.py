"""How good a version is on labelled images it never saw: the same figures for the trainer, the card and `medseg`.

Dice of each label on the whole image in its own grid, as a user gets it (postprocessing included), averaged over
images. A label that neither the model nor the reference has counts as 1, one that only one of them has as 0.
"""

import csv
import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.cards import Score
from napari_medseg.core.checks import swap_sides
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.metrics import bootstrap_interval, per_label_dice, surface_distances
from napari_medseg.core.tasks import Task
from napari_medseg.inference.predictor import Predictor
from training import html
from training.pairs import LabelledCase, pair_by_stem

KINDS = ("dice", "iou", "hd95")
Labels = NDArray[np.integer[Any]]


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


@dataclass(frozen=True, eq=False)
class Judged:
    """A case with its figures and all that they were made from; labels on the image's own grid."""

    score: CaseScore
    image: Image
    reference: Labels
    predicted: Labels


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
        judged = judge_case(predictor, case, task)
        distances, unit = _distances(judged, task)
        yield replace(judged.score, hd95=distances, unit=unit)


def judge_case(predictor: Predictor, case: LabelledCase, task: Task) -> Judged:
    """Predict one case and measure the overlap, but not the distances, which cost more than the prediction."""
    image = formats.read(case.image)
    reference = formats.read_labels(case.labels, image)
    began = time.monotonic()
    predicted = predictor.labels_of(image)
    return Judged(_overlap(case, predicted, reference, task, time.monotonic() - began), image, reference, predicted)


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


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `evaluation.csv` (a row for each image), `.json` (with the summary) and `.html`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"evaluation.{suffix}" for suffix in ("csv", "json", "html")]
    header, rows = _table(evaluation)
    with paths[0].open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    content = {
        "model": evaluation.model,
        "task": evaluation.task,
        "summary": [score.model_dump() for score in evaluation.summary()],
        "images": [dict(zip(header, row, strict=True)) for row in rows],
    }
    paths[1].write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    summary: list[list[str | int | float]] = [
        [score.dataset, score.n_images, score.mean, score.worst, score.ci_low, score.ci_high, score.swapped_sides]
        for score in evaluation.summary()
    ]
    parts = [
        html.table(["source", "images", "mean Dice", "worst", "95 % from", "to", "swapped sides"], summary),
        html.heading("Images, worst first"),
        html.table(header, sorted(rows, key=lambda row: row[header.index("mean_dice")])),
    ]
    paths[2].write_text(html.page(f"{evaluation.model} on {evaluation.task}", parts), encoding="utf-8")
    return paths


def _table(evaluation: Evaluation) -> tuple[list[str], list[list[Any]]]:
    labels = list(evaluation.scores[0].dice) if evaluation.scores else []
    header = ["name", "group", "source", "mean_dice", *(f"{kind}_{name}" for kind in KINDS for name in labels)]
    header = [word.replace(" ", "_") for word in header] + ["unit", "swapped", "seconds"]
    rows = [
        [score.name, score.group, score.source, score.mean_dice]
        + [score.dice[name] for name in labels]
        + [score.iou[name] for name in labels]
        + [score.hd95.get(name, "") for name in labels]
        + [score.unit, int(score.swapped), round(score.seconds, 3)]
        for score in evaluation.scores
    ]
    return header, rows


def _overlap(case: LabelledCase, predicted: Labels, reference: Labels, task: Task, seconds: float) -> CaseScore:
    values = [label.value for label in task.labels]
    dice = per_label_dice(predicted, reference, values)
    swapped = False
    if task.sides is not None:
        exchanged = per_label_dice(swap_sides(predicted, task), reference, values)
        swapped = sum(exchanged[side] for side in task.sides) > sum(dice[side] for side in task.sides)
    by_name = {task.label_name(value): figure for value, figure in dice.items()}
    return CaseScore(case.name, case.group, case.source, by_name, swapped, seconds, {})


def _distances(judged: Judged, task: Task) -> tuple[dict[str, float], str]:
    image, reference = judged.image, judged.reference
    spacing = image.spacing_mm or (1.0,) * reference.ndim
    distances = {}
    for label in task.labels:
        ours, theirs = judged.predicted == label.value, reference == label.value
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
