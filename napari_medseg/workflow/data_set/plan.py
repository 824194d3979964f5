"""Which cases a data set has, how they are split by group, and what their files are called.

The hold-out of the project becomes the test set. The other groups are shared among folds, as even in cases as possible;
the choice does not depend on the order of the cases.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medseg.core.grouping.split import sort_by_hash
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.output.export_plan import ExportItem, Row
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.training_set import find_copies
from napari_medseg.workflow.video.moved_videos import get_frames

N_FOLDS = 5
VALIDATION_FOLD = 0
"""The fold that validates where a format has one validation set."""
MIN_GROUPS_TO_SPLIT = 2


@dataclass(frozen=True)
class PlannedCase:
    """One case of a data set, without its pixels.

    Parameters
    ----------
    row
        What is read for it.
    name
        First part of its file names, such as ``patient-12_case-3``; it names no one.
    axes, dtype, units, modality
        Of the image.
    is_partly_reviewed
        Whether only a part of the image was reviewed.
    largest_value
        Largest value of its labels.
    fold
        In which it validates; `None` for a case of the test set, or if there are too few groups.
    """

    row: Row
    name: str
    axes: str
    dtype: np.dtype[np.generic]
    units: str
    modality: str
    is_partly_reviewed: bool
    largest_value: int
    fold: int | None = None

    @property
    def case(self) -> Case:
        """The case of the project."""
        return self.row[0]

    @property
    def is_held_out(self) -> bool:
        """Whether it belongs to the test set."""
        return self.case.held_out

    @property
    def is_volume(self) -> bool:
        """Whether the image has slices."""
        return "Z" in self.axes

    @property
    def is_series(self) -> bool:
        """Whether it shows frames of a video, whose third axis is the time."""
        frames = get_frames(self.case)
        return frames is not None and frames.is_series

    @property
    def is_colour(self) -> bool:
        """Whether the image is RGB."""
        return "C" in self.axes


def leave_out_copies(project_folder: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows without training images that the hold-out shows, too, and why they are left out.

    Whoever trains on the data set would else test on images that were trained on, as `workflow.training_set` knows.
    """
    learnt, held_out = ([row[0] for row in rows if row[0].held_out is side] for side in (False, True))
    copies = find_copies(project_folder, learnt, held_out)
    texts = [f"{case.name}: it shows the same as an image of the hold-out." for case in learnt if case.id in copies]
    return [row for row in rows if row[0].id not in copies], texts


def plan_case(item: ExportItem, row: Row) -> PlannedCase:
    """Return what the plan has to know of a case that was read; its fold is not chosen yet."""
    return PlannedCase(
        row=row,
        name=ImageNamer("group").make_case_name(item.image, item.case).stem,
        axes=item.image.axes,
        dtype=item.image.pixels.dtype,
        units=item.image.units,
        modality=item.image.modality,
        is_partly_reviewed=item.reviewed_mask is not None,
        largest_value=int(item.labels.max(initial=0)),
    )


def choose_folds(cases: Iterable[Case]) -> Mapping[str, int]:
    """Return the fold of each group that is not held out; none if there is only one group to train on.

    Each group, the largest first, goes to the fold with the fewest cases.
    """
    sizes = Counter(case.group for case in cases if not case.held_out)
    if len(sizes) < MIN_GROUPS_TO_SPLIT:
        return {}
    filled = dict.fromkeys(range(min(N_FOLDS, len(sizes))), 0)
    folds = {}
    for group in sorted(sort_by_hash(sizes), key=lambda group: -sizes[group]):
        folds[group] = min(filled, key=lambda fold: (filled[fold], fold))
        filled[folds[group]] += sizes[group]
    return folds


def list_consecutive_values(task: Task) -> dict[int, int]:
    """Return the value of each label in files whose values must follow each other from 1; objects are all 1."""
    return {label.value: number for number, label in enumerate(task.labels, start=1)}
