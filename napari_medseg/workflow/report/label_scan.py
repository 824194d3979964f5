"""One pass over the accepted labels of a task: sizes of labels, and how far the drafts were from the corrections.

One case is in memory at a time, so a project of any number of cases is read within the memory of its largest image.
"""

import heapq
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.quality.metrics import compute_dice, compute_dice_per_label
from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.storage.pack import Progress


@dataclass(frozen=True)
class AcceptedCase:
    """A case with its current correction, and the prediction that its review began with, if there was one."""

    case: Case
    correction: Correction
    prediction: Prediction | None


@dataclass
class LabelTotal:
    """Size of one label over all cases; `values` holds that of each case with the label, in `unit`."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    n_objects: int | None = None

    @property
    def median(self) -> float:
        """The middle of all cases with the label."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class DraftDice:
    """Dice of draft and correction: mean of the labels that occur, or of all objects together."""

    dice: float
    accepted: AcceptedCase


@dataclass
class LabelScan:
    """What a pass over the labels found. `dices` is by model version, `worst` has the lowest Dice first."""

    totals: dict[tuple[str, str], LabelTotal] = field(default_factory=dict)
    dices: dict[str, list[float]] = field(default_factory=dict)
    worst: list[DraftDice] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan_labels(
    folder: Path, task: Task, cases: Sequence[AcceptedCase], n_worst: int
) -> Generator[Progress, None, LabelScan]:
    """Read the labels of a task.

    Parameters
    ----------
    folder
        Project folder.
    task, cases
        The task and its accepted cases.
    n_worst
        How many cases with the lowest Dice are kept.

    Yields
    ------
    Progress
        In cases.
    """
    scan = LabelScan()
    worst: list[tuple[float, int, AcceptedCase]] = []  # a heap of negated Dice: its first is the best of the worst
    for number, accepted in enumerate(cases, start=1):
        try:
            labels = _read_reviewed_labels(folder, accepted, accepted.correction)
            _add_sizes(scan, task, accepted.case, labels)
            if accepted.prediction is not None and not accepted.correction.imported:
                dice = compute_mean_dice(_read_reviewed_labels(folder, accepted, accepted.prediction), labels, task)
                scan.dices.setdefault(accepted.correction.model, []).append(dice)
                heapq.heappush(worst, (-dice, -number, accepted))
                if len(worst) > n_worst:
                    heapq.heappop(worst)
        except MedSegError as error:
            scan.problems.append(str(error))
        yield Progress(number, len(cases))
    scan.worst = [DraftDice(-negated, accepted) for negated, _, accepted in sorted(worst, reverse=True)]
    return scan


def compute_mean_dice(draft: NDArray[Any], labels: NDArray[Any], task: Task) -> float:
    """Return the mean Dice over the labels that occur in either array; 1 if none does."""
    if task.instances:
        return compute_dice(draft > 0, labels > 0)
    present = [label.value for label in task.labels if (draft == label.value).any() or (labels == label.value).any()]
    values = compute_dice_per_label(draft, labels, present).values() if present else [1.0]
    return statistics.fmean(values)


def _read_reviewed_labels(folder: Path, accepted: AcceptedCase, record: Prediction | Correction) -> NDArray[Any]:
    labels = read_case_labels(folder, accepted.case, record)
    seen = read_reviewed_pixels(folder, accepted.case, accepted.correction)
    return labels if seen is None else np.where(seen, labels, 0)


def _add_sizes(scan: LabelScan, task: Task, case: Case, labels: NDArray[Any]) -> None:
    grid = Image(pixels=labels, axes=case.spatial_axes, spacing_mm=case.spacing_mm, name=case.name)
    for measured in measure_labels(labels, grid, task):
        if measured.voxels:
            _add_size(scan, measured)


def _add_size(scan: LabelScan, measured: Measurement) -> None:
    key = (measured.label.name, measured.unit)
    total = scan.totals.setdefault(key, LabelTotal(*key))
    total.values.append(measured.value)
    if measured.count is not None:
        total.n_objects = (total.n_objects or 0) + measured.count
