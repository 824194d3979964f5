"""A draft: the labels of an open review, with every stroke journalled before it counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.review_region import (
    WHOLE_IMAGE,
    ReviewRegion,
    get_draft_region_path,
    read_draft_region,
    write_draft_region,
)
from napari_medseg.core.project.stroke_journal import StrokeJournal
from napari_medseg.core.project.strokes import Stroke, StrokeKind
from napari_medseg.core.records import Case, Review


class Draft:
    """Labels under correction.

    Give `labels` to the layer as it is: painting there and `record` then write the same array. After `undo`,
    `redo`, `reset` or a merged prediction the array has changed in place and the layer only needs a refresh.

    Parameters
    ----------
    review, case
        Open review, and what it is of.
    journal
        Of the review; its strokes are put on the labels.
    start
        Labels of the prediction on the canonical grid (zeros without one).
    model
        Version that made them, ``""`` for none.
    """

    def __init__(self, review: Review, case: Case, journal: StrokeJournal, start: NDArray[Any], model: str) -> None:
        self.review = review
        self.case = case
        self.labels = np.require(start, requirements=["C", "W"])
        self._predicted = self.labels.copy()
        self._journal = journal
        self._start_model = model
        self._n_changed = 0
        self._edited: NDArray[np.int64] | None = None
        self._initial_review_region = WHOLE_IMAGE
        self._review_region = read_draft_region(get_draft_region_path(journal.path))
        for place, stroke in enumerate(journal.applied_strokes):
            self._apply_stroke(stroke, stroke.old, stroke.new, journal.applied_strokes[:place])

    @property
    def model(self) -> str:
        """Version that made the labels under the edits."""
        merged = [stroke.model for stroke in self._journal.applied_strokes if stroke.kind is StrokeKind.PREDICTION]
        return merged[-1] if merged else self._start_model

    @property
    def can_undo(self) -> bool:
        """Whether there is a stroke of this review to take back; what was carried over from a correction stays."""
        done = self._journal.applied_strokes
        return bool(done) and done[-1].kind is not StrokeKind.CARRIED_OVER

    @property
    def can_redo(self) -> bool:
        """Whether an undone stroke can be made again."""
        return bool(self._journal.undone_strokes)

    @property
    def changed_voxels(self) -> int:
        """Voxels that differ from what the model predicted."""
        return self._n_changed

    @property
    def edited_indices(self) -> NDArray[np.int64]:
        """Flat C-order indices of the voxels a person touched since the last reset, ascending, each once."""
        if self._edited is None:
            self._edited = find_edited_voxels(self._journal.applied_strokes)
        return self._edited

    @property
    def edited_planes(self) -> list[int]:
        """Indices, ascending, of the planes of a volume in which a person touched a voxel."""
        return [int(plane) for plane in np.unique(self.edited_indices // int(np.prod(self.labels.shape[-2:])))]

    @property
    def saved_at(self) -> float | None:
        """When the last change was written, in seconds since the Unix epoch; `None` before the first."""
        return self._journal.saved_at

    @property
    def review_region(self) -> ReviewRegion:
        """What of the image counts as reviewed."""
        return self._initial_review_region if self._review_region is None else self._review_region

    @property
    def has_changed_review_region(self) -> bool:
        """Whether the area is another than the review began with."""
        return self.review_region != self._initial_review_region

    def save_review_region(self, region: ReviewRegion) -> None:
        """Keep what counts as reviewed; it is on disk when this returns, and there when the draft is opened again."""
        if region != self.review_region:
            write_draft_region(get_draft_region_path(self._journal.path), region)
            self._review_region = region

    def set_initial_review_region(self, region: ReviewRegion) -> None:
        """Take the area of an earlier correction, until another one is kept."""
        self._initial_review_region = region

    @property
    def seconds(self) -> float:
        """Seconds worked, as far as `add_seconds` was told."""
        return self._journal.seconds

    def add_seconds(self, seconds: float) -> None:
        """Add time that a person worked on it; kept across restarts."""
        self._journal.add_seconds(seconds)

    def record(self, indices: ArrayLike, old: ArrayLike, new: ArrayLike) -> None:
        """Keep one stroke by hand; it is on disk when this returns.

        Parameters
        ----------
        indices
            Flat C-order indices of the voxels, as of `numpy.ravel_multi_index`.
        old, new
            Label values before and after, one per index or one for all.

        Raises
        ------
        MedSegError
            If it cannot be written, or lies outside the image.
        """
        stroke = Stroke.from_voxels(StrokeKind.PAINT, indices, old, new)
        if stroke.voxel_runs.size:
            self._add_stroke(stroke)

    def undo(self) -> Stroke | None:
        """Take the last stroke back, in the labels too; `None` where there is none. Unlimited, also after a restart."""
        stroke = self._journal.undo() if self.can_undo else None
        if stroke is not None:
            self._apply_stroke(stroke, stroke.new, stroke.old, self._journal.applied_strokes)
        return stroke

    def redo(self) -> Stroke | None:
        """Make the stroke last undone again, in the labels too; `None` where there is none."""
        stroke = self._journal.redo()
        if stroke is not None:
            self._apply_stroke(stroke, stroke.old, stroke.new, self._journal.applied_strokes[:-1])
        return stroke

    def reset(self) -> NDArray[Any]:
        """Bring back the prediction and forget which voxels were edited; one stroke, so that it can be undone."""
        if self.edited_indices.size:
            self._record_difference(self._predicted, StrokeKind.RESET)
        return self.labels

    def merge(self, labels: NDArray[Any], model: str) -> NDArray[Any]:
        """Put a new prediction around the edited voxels, which keep what the person gave them; can be undone."""
        self._check_shape(labels)
        before, after = self._predicted.ravel(), labels.ravel()
        indices = np.flatnonzero(before != after)
        self._add_stroke(Stroke.from_voxels(StrokeKind.PREDICTION, indices, before[indices], after[indices], model))
        return self.labels

    def carry_over(self, labels: NDArray[Any]) -> None:
        """Start from what was accepted before: it counts as edited and is not undone."""
        self._check_shape(labels)
        self._record_difference(labels, StrokeKind.CARRIED_OVER)

    def record_missed_changes(self, labels: NDArray[Any]) -> None:
        """Record what another tool changed in the layer without telling; nothing where all strokes were recorded."""
        self._check_shape(labels)
        if labels is not self.labels and not np.array_equal(labels, self.labels):
            self._record_difference(labels, StrokeKind.PAINT)

    def close(self) -> None:
        """Sync and close the journal; the draft can be opened again."""
        self._journal.close()

    def _record_difference(self, wanted: NDArray[Any], kind: StrokeKind) -> None:
        before, after = self.labels.ravel(), wanted.ravel()
        indices = np.flatnonzero(before != after)
        self._add_stroke(Stroke.from_voxels(kind, indices, before[indices], after[indices]))

    def _add_stroke(self, stroke: Stroke) -> None:
        runs = stroke.voxel_runs
        if runs.size and int(runs["start"][-1]) + int(runs["length"][-1]) > self.labels.size:
            raise MedSegError(
                f"a stroke lies outside {self.case.name}. Open the case again; the draft was not changed."
            )
        self._journal.add(stroke)
        self._apply_stroke(stroke, stroke.old, stroke.new, self._journal.applied_strokes[:-1])

    def _apply_stroke(
        self, stroke: Stroke, before: NDArray[np.uint32], after: NDArray[np.uint32], below: Sequence[Stroke]
    ) -> None:
        """Turn one side of a stroke into the other, given the strokes below it, and keep count of what differs."""
        indices, labels, predicted = stroke.indices, self.labels.reshape(-1), self._predicted.reshape(-1)
        self._edited = None
        if stroke.kind is StrokeKind.PREDICTION:
            edited = find_edited_voxels(below)
            predicted[indices] = after
            free = ~np.isin(indices, edited, assume_unique=True)
            labels[indices[free]] = after[free]
            self._n_changed = int(np.count_nonzero(labels[edited] != predicted[edited]))
            return
        model_says = predicted[indices]
        self._n_changed += int(np.count_nonzero(after != model_says)) - int(np.count_nonzero(before != model_says))
        labels[indices] = after

    def _check_shape(self, labels: NDArray[Any]) -> None:
        if labels.shape != self.labels.shape:
            raise MedSegError(
                f"these labels have shape {labels.shape}, but {self.case.name} needs {self.labels.shape}. "
                "Use the labels layer that belongs to the case."
            )


def find_edited_voxels(strokes: Sequence[Stroke]) -> NDArray[np.int64]:
    """Flat indices, ascending, of the voxels that strokes by hand touched since the last reset."""
    touched: list[NDArray[np.int64]] = []
    for stroke in strokes:
        if stroke.kind is StrokeKind.RESET:
            touched.clear()
        elif stroke.kind is not StrokeKind.PREDICTION:
            touched.append(stroke.indices)
    return np.unique(np.concatenate(touched)) if touched else np.empty(0, np.int64)
