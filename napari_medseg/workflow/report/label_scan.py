"""One pass over the accepted labels of a task: sizes of labels.

One case is in memory at a time, so a project of any number of cases is read within the memory of its largest image.
"""

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


@dataclass
class LabelScan:
    """What a pass over the labels found: the sizes by name of the label and unit."""

    totals: dict[tuple[str, str], LabelTotal] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def scan_labels(folder: Path, task: Task, cases: Sequence[AcceptedCase]) -> Generator[Progress, None, LabelScan]:
    """Read the labels of a task.

    Parameters
    ----------
    folder
        Project folder.
    task, cases
        The task and its accepted cases.

    Yields
    ------
    Progress
        In cases.
    """
    scan = LabelScan()
    for number, accepted in enumerate(cases, start=1):
        try:
            _add_sizes(scan, task, accepted.case, _read_reviewed_labels(folder, accepted))
        except MedSegError as error:
            scan.problems.append(str(error))
        yield Progress(number, len(cases))
    return scan


def _read_reviewed_labels(folder: Path, accepted: AcceptedCase) -> NDArray[Any]:
    labels = read_case_labels(folder, accepted.case, accepted.correction)
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
