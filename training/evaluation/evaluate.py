"""Score labels against references: the trainer, the model card and `medseg` use the same functions.

Every image is scored as a whole on its original grid, after postprocessing, as a user gets it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import GroupPattern
from napari_medseg.core.image import Image
from napari_medseg.core.name_matching import compile_pattern
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.quality.label_checks import swap_sides
from napari_medseg.core.quality.metrics import (
    compute_dice,
    compute_dice_per_label,
    compute_mean_iou,
    compute_surface_distances,
    count_confusion,
)
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.inference.predictor import Predictor
from training.data.ignore_regions import ReviewedPart
from training.data.labelled_cases import LabelFolder, LabelledCase
from training.evaluation.scores import CaseScore, EvaluatedCase, Labels
from training.from_folders.mask_pairing import Mismatch, pair_by_name

logger = logging.getLogger(__name__)

LabelSource = Callable[[Image, str], Labels]
"""A function that returns the labels of an image, given the image and the name of its case."""
LabelReader = Callable[..., Labels]
"""A function that reads a file as labels on the grid of an image; `parts` are files of one label or object each."""


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory; `reference` and `ignored_mask` are on the original grid of the image.

    `ignored_mask` is true where voxels are not evaluated, and `None` if all voxels are evaluated.
    """

    case: LabelledCase
    image: Image
    reference: Labels
    ignored_mask: NDArray[np.bool_] | None


def load_case(case: LabelledCase, read_labels: LabelReader = formats.read_labels) -> LoadedCase:
    """Read the image and the reference labels of a case; `read_labels` gives the values of a file their meaning.

    Labels of a project, whose images have a known shape, need no meaning.

    Raises
    ------
    MedSegError
        If a file cannot be read, the grids differ, or the reviewed region is empty.
    """
    image = formats.read(case.image, expected_shape=case.image_shape or None)
    if not case.group:
        case = replace(case, group=image.group)
    if case.image_shape:
        read_labels = partial(formats.read_labels, expected_shape=image.spatial_shape)
    named = replace(image, name=case.name)  # a COCO file is searched for the name that was paired
    reference = read_labels(case.labels, named, parts=case.parts) if case.parts else read_labels(case.labels, named)
    part = case.reviewed_part
    return LoadedCase(case, image, reference, None if part is None else part.compute_ignore_mask(reference, image))


def evaluate_cases(
    source: LabelSource,
    cases: Sequence[LabelledCase],
    task: Task,
    n_classes: int | None = None,
    read_labels: LabelReader = formats.read_labels,
) -> Iterator[EvaluatedCase]:
    """Compute all metrics of each case and yield it at once.

    `n_classes` is how many classes the source can predict; `read_labels` reads the references.
    """
    for case in cases:
        loaded = load_case(case, read_labels)
        began = time.monotonic()
        predicted = source(loaded.image, case.name)
        scored = score_labels(loaded, predicted, task, n_classes, time.monotonic() - began)
        yield add_full_metrics(scored, task)


def evaluate_case(predictor: Predictor, case: LabelledCase, task: Task) -> EvaluatedCase:
    """Read and predict one case and compute the overlap metrics; see `evaluate_loaded_case`."""
    return evaluate_loaded_case(predictor, load_case(case), task)


def evaluate_loaded_case(
    predictor: Predictor, loaded: LoadedCase, task: Task, tell: Callable[[str], object] = logger.debug
) -> EvaluatedCase:
    """Predict one case and compute the overlap metrics, without surface distances, which are slower to compute.

    `tell` takes the notices of the prediction, such as that of a failed GPU.
    """
    began = time.monotonic()
    predicted = predictor.predict_labels(loaded.image, tell)
    return score_labels(loaded, predicted, task, predictor.card.architecture.classes, time.monotonic() - began)


def score_empty_prediction(loaded: LoadedCase, task: Task) -> EvaluatedCase:
    """Score an empty prediction: the baseline that a first model has to beat."""
    return score_labels(loaded, np.zeros(loaded.image.spatial_shape, np.uint8), task)


def make_predictor_source(predictor: Predictor, tell: Callable[[str], object] = logger.debug) -> LabelSource:
    """Return a source that predicts labels with a model; `tell` takes the notices of the predictions."""
    return lambda image, _: predictor.predict_labels(image, tell)


def make_folder_source(folder: Path, read_labels: LabelReader = formats.read_labels) -> LabelSource:
    """Return a source that reads existing labels from a `LabelFolder`.

    Raises
    ------
    MedSegError
        If the folder does not exist, or a requested case has no file.
    """
    files = LabelFolder(folder)

    def read(image: Image, name: str) -> Labels:
        if (file := files.find(name)) is None:
            raise MedSegError(f"{folder} contains no labels for {name}. Predict it too, or exclude it with --only.")
        return read_labels(file, image)

    return read


def find_cases(
    images: Path, labels: Path, only: str = "", group: str = "", ignored_value: int | None = None
) -> list[LabelledCase]:
    """Pair the images of a folder with their references, by the rule of `medseg train folders`.

    Parameters
    ----------
    images, labels
        Folders; `labels` holds label files, Aperio XML or folders of label files, or is a COCO file. Images without
        labels are excluded; labels without an image are an error.
    only
        Regular expression. Only cases whose stem matches it from the start are kept. Empty: all cases.
    group
        A `core.grouping.groups.GroupPattern`: where the patient, slide or video stands in the stem. Empty: as
        the files say, by the rule of `core.grouping.groups` (DICOM by patient).
    ignored_value
        Label of unlabelled pixels, which are not scored; `None`: all pixels are.

    Raises
    ------
    MedSegError
        If no image matches any labels, `only` is no regular expression, or a file cannot be read.
    """
    found, pattern = pair_by_name(images, labels), compile_pattern(only)
    _refuse_unclear_pairs(found.mismatches, images)
    part = None if ignored_value is None else ReviewedPart(ignored_value=ignored_value)
    known = sorted(((case.name, case.image, case.mask) for case in found.cases), key=lambda case: case[0])
    chosen = [
        LabelledCase(name, image, mask.path, _find_group(name, group), images.name, part, parts=mask.parts)
        for name, image, mask in known
        if pattern.match(name)
    ]
    if not chosen:
        cases = ", ".join(name for name, _, _ in known[:5])
        raise MedSegError(f"no case in {images} matches {only!r}; cases are {cases} ...")
    return chosen


def _refuse_unclear_pairs(mismatches: Sequence[Mismatch], images: Path) -> None:
    if doubled := sorted({one.name for one in mismatches if one.kind == "double"}):
        raise MedSegError(
            f"several files have the same name without the suffix: {', '.join(doubled[:5])}. Remove all but one."
        )
    if orphans := sorted(one.name for one in mismatches if one.kind == "missing image"):
        raise MedSegError(
            f"{len(orphans)} of the labels have no image of the same name in {images}: {', '.join(orphans[:5])}. "
            "Rename the files, or choose another folder."
        )


def to_semantic_labels(labels: Labels, task: Task) -> Labels:
    """Return label values; in an instance task, every object becomes 1."""
    return (labels > 0).astype(np.uint8) if task.instances else labels


def merge_label_sets(predicted: Labels, case: LabelledCase, task: Task) -> Labels:
    """Return predicted labels with the value of a set in place of its labels, as the reference of the case has them."""
    if task.instances or not case.label_sets:
        return predicted
    merged = predicted.copy()
    for value, members in case.label_sets.items():
        merged[np.isin(predicted, list(members))] = value
    return merged


def score_labels(
    loaded: LoadedCase, predicted: Labels, task: Task, n_classes: int | None = None, seconds: float = 0.0
) -> EvaluatedCase:
    """Compute the overlap metrics of predicted labels.

    Parameters
    ----------
    loaded
        The case with its reference.
    predicted
        Integer labels (y, x) or (z, y, x) on the original grid of the image.
    task
        The task of the labels.
    n_classes
        How many classes the model can predict, including background; `None` for all classes of the task.
    seconds
        Duration of the prediction.
    """
    reference, predicted = loaded.reference, merge_label_sets(predicted, loaded.case, task)
    counted = None if loaded.ignored_mask is None else ~loaded.ignored_mask
    if counted is not None:
        predicted, reference = (np.where(counted, labels, 0).astype(labels.dtype) for labels in (predicted, reference))
    score = _compute_overlap(loaded.case, predicted, reference, task, seconds)
    if counted is not None:  # voxels that were not reviewed must not count as correct background
        ours, theirs = to_semantic_labels(predicted, task)[counted], to_semantic_labels(reference, task)[counted]
        agreement = float(np.mean(ours == theirs))
        score = replace(score, miou=compute_mean_iou(ours, theirs, task.n_classes), agreement=agreement)
    unknown = [label for label in task.labels if n_classes is not None and label.value >= n_classes]
    absent = tuple(label.name for label in unknown if not task.instances and not (reference == label.value).any())
    return EvaluatedCase(replace(score, absent=absent), loaded.image, reference, predicted, counted)


def _compute_overlap(case: LabelledCase, predicted: Labels, reference: Labels, task: Task, seconds: float) -> CaseScore:
    names = _name_labels(case, task)
    values = list(names)
    ours, theirs = to_semantic_labels(predicted, task), to_semantic_labels(reference, task)
    per_label = compute_dice_per_label(ours, theirs, values)
    swapped = False
    if task.sides is not None and not case.label_sets:
        exchanged = compute_dice_per_label(swap_sides(ours, task), theirs, values)
        swapped = sum(exchanged[side] for side in task.sides) > sum(per_label[side] for side in task.sides)
    return CaseScore(
        name=case.name,
        group=case.group,
        source=case.source,
        dice={names[value]: figure for value, figure in per_label.items()},
        swapped=swapped,
        seconds=seconds,
        miou=compute_mean_iou(ours, theirs, task.n_classes),
        agreement=float(np.mean(ours == theirs)),
        foreground_dice=compute_dice(ours, theirs),
        objects=compute_object_scores(predicted, reference) if task.instances and not case.label_sets else None,
        in_reference=tuple(name for value, name in names.items() if (theirs == value).any()),
    )


def add_full_metrics(evaluated: EvaluatedCase, task: Task) -> EvaluatedCase:
    """Add surface distances, precision, recall and accuracy of each label that the reference tells."""
    ours, theirs = to_semantic_labels(evaluated.predicted, task), to_semantic_labels(evaluated.reference, task)
    spacing = evaluated.image.spacing_mm or (1.0,) * theirs.ndim
    counted = np.ones(theirs.shape, bool) if evaluated.counted_mask is None else evaluated.counted_mask
    columns: dict[str, dict[str, float]] = {
        name: {} for name in ("hd95", "mean_distance", "precision", "recall", "accuracy")
    }
    for label in task.labels:
        if label.name not in evaluated.score.dice:
            continue  # the reference only says that a pixel has one of several labels
        inside, wanted = ours == label.value, theirs == label.value
        if inside.any() and wanted.any():
            distances = compute_surface_distances(inside, wanted, spacing)
            columns["hd95"][label.name], columns["mean_distance"][label.name] = distances.hd95, distances.mean
        counts = count_confusion(inside[counted], wanted[counted])
        columns["precision"][label.name] = counts.precision
        columns["recall"][label.name], columns["accuracy"][label.name] = counts.recall, counts.accuracy
    unit = "px" if evaluated.image.spacing_mm is None else "mm"
    return replace(evaluated, score=replace(evaluated.score, unit=unit, **columns))  # type: ignore[arg-type]


def _name_labels(case: LabelledCase, task: Task) -> dict[int, str]:
    """Return the name of each label that the reference of a case tells: a set has the names of all its labels."""
    names = {label.value: label.name for label in task.labels}
    sets = {} if task.instances else case.label_sets
    hidden = {member for members in sets.values() for member in members}
    merged = {
        value: " or ".join(names.get(member, str(member)) for member in sorted(members))
        for value, members in sets.items()
    }
    return {value: name for value, name in names.items() if value not in hidden} | merged


def _find_group(stem: str, pattern: str) -> str:
    return GroupPattern.parse(pattern).find_group(Path(stem)) if pattern else ""
