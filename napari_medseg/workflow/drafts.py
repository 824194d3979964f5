"""A draft: the labels of an open review. Each stroke is written to the journal before it is applied."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

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
from napari_medseg.core.project.strokes import (
    MAX_SPARSENESS,
    PreparedStroke,
    Spans,
    Stroke,
    StrokeKind,
    find_edited_spans,
    have_values,
    write_values,
)
from napari_medseg.core.project.undo_journal import StrokeJournal
from napari_medseg.core.records import Case, Review
from napari_medseg.workflow.merge_labels import count_differences, have_equal_labels

if TYPE_CHECKING:  # the tools need SciPy, a draft does not
    from napari_medseg.core.editing.edit import Edit


class Draft:
    """The labels of an open review.

    `labels` is an integer array with the spatial shape of the image. `record`, `undo`, `redo`, `reset` and `merge`
    change it in place or replace it. `version` is another number after each change.

    Parameters
    ----------
    review, case
        Open review, and its case.
    journal
        Journal of the review; its strokes are applied to the labels.
    start
        Predicted labels on the canonical grid, integer, (y, x) or (z, y, x); zeros without a prediction.
    model
        Version that predicted them; ``""`` without a prediction.
    """

    def __init__(self, review: Review, case: Case, journal: StrokeJournal, start: NDArray[Any], model: str) -> None:
        self.review = review
        self.case = case
        self.labels = np.require(start, requirements=["C", "W"])
        self._predicted = self.labels.copy()
        self._journal = journal
        self._start_model = model
        self._n_changed = 0
        self._counts: WeakKeyDictionary[Stroke, dict[str, int]] = WeakKeyDictionary()
        self._edited: Spans | None = None
        self.version = 0
        self._initial_review_region = WHOLE_IMAGE
        self._review_region = read_draft_region(get_draft_region_path(journal.path))
        for stroke in (*journal.applied_strokes, *journal.undone_strokes):
            if stroke.lies_outside(self.labels.size):
                raise MedSegError(
                    f"{journal.path} holds a stroke outside of {case.name}. It is damaged, or is of another image. "
                    "Move it away; the prediction is not affected."
                )
        for place, stroke in enumerate(journal.applied_strokes):
            self._apply_stroke(stroke, "new", journal.applied_strokes[:place], is_read=True)

    @property
    def model(self) -> str:
        """Version that made the prediction of this draft."""
        merged = [stroke.model for stroke in self._journal.applied_strokes if stroke.kind is StrokeKind.PREDICTION]
        return merged[-1] if merged else self._start_model

    @property
    def has_records(self) -> bool:
        """Whether anything was ever recorded in this review."""
        return not self._journal.is_empty

    @property
    def can_undo(self) -> bool:
        """Whether a stroke of this review can be undone; labels carried over from a correction cannot."""
        done = self._journal.applied_strokes
        return bool(done) and done[-1].kind is not StrokeKind.CARRIED_OVER

    @property
    def n_paint_strokes(self) -> int:
        """Strokes of this review that set voxels, imports of masks included, predictions not."""
        return sum(stroke.kind is StrokeKind.PAINT for stroke in self._journal.applied_strokes)

    @property
    def changed_voxels(self) -> int:
        """Number of voxels that differ from the prediction."""
        return self._n_changed

    @property
    def predicted(self) -> NDArray[Any]:
        """The labels that the model proposed, in the shape of `labels`; not to be changed."""
        return self._predicted

    @property
    def edited(self) -> Spans:
        """The voxels edited since the last reset."""
        if self._edited is None:
            self._edited = find_edited_spans(self._journal.applied_strokes)
        return self._edited

    @property
    def edited_indices(self) -> NDArray[np.int64]:
        """Flat C-order indices of the edited voxels: sorted, unique, int64, shape (n,). Large for a whole organ."""
        return self.edited.expand()

    @property
    def edited_planes(self) -> list[int]:
        """Sorted indices of the planes of a volume with edited voxels."""
        return self.edited.list_planes(int(np.prod(self.labels.shape[-2:])))

    @property
    def saved_at(self) -> float | None:
        """Time of the last write, in seconds since the Unix epoch; `None` before the first."""
        return self._journal.saved_at

    @property
    def review_region(self) -> ReviewRegion:
        """The part of the image that counts as reviewed."""
        return self._initial_review_region if self._review_region is None else self._review_region

    @property
    def has_changed_review_region(self) -> bool:
        """Whether the review region differs from that at the start of the review."""
        return self.review_region != self._initial_review_region

    def save_review_region(self, region: ReviewRegion) -> None:
        """Save the review region to disk; it is restored when the draft is opened again."""
        if region != self.review_region:
            write_draft_region(get_draft_region_path(self._journal.path), region)
            self._review_region = region

    def set_initial_review_region(self, region: ReviewRegion) -> None:
        """Use the region of an earlier correction until another region is saved."""
        self._initial_review_region = region

    @property
    def seconds(self) -> float:
        """Seconds of work, the sum of all `add_seconds` calls."""
        return self._journal.seconds

    def add_seconds(self, seconds: float) -> None:
        """Add seconds of work; the sum is kept across restarts."""
        self._journal.add_seconds(seconds)

    def record(self, indices: ArrayLike, old: ArrayLike, new: ArrayLike) -> None:
        """Record one manual stroke; it is on disk when this returns.

        Parameters
        ----------
        indices
            Flat C-order voxel indices, shape (n,), as from `numpy.ravel_multi_index`.
        old, new
            Label values before and after: shape (n,), or one value for all voxels.

        Raises
        ------
        MedSegError
            If the stroke cannot be written or lies outside the image.
        """
        stroke = Stroke.from_voxels(StrokeKind.PAINT, indices, old, new)
        if stroke.voxel_runs.size:
            self._add_stroke(stroke)

    def record_edit(self, edit: "Edit", prepared: PreparedStroke | None = None) -> None:
        """Record and apply the edit of a tool as one manual stroke, with the errors of `record`.

        It was made from these labels: an edit with other old values is stale and refused. `prepared` is what a thread
        computed for it; it is not used if the labels changed meanwhile.
        """
        if prepared is None or prepared.version != self.version:
            edit.check_is_current(self.labels)
            self._add_stroke(edit.stroke)
            return
        edited = self.edited
        self._journal.add(prepared.stroke)
        self._counts[prepared.stroke] = {"old": self._n_changed}
        self.labels, self._n_changed, self.version = prepared.labels, prepared.n_changed, self.version + 1
        self._edited = edited.join(prepared.stroke.spans)

    def prepare_edit(self, edit: "Edit", version: int) -> PreparedStroke | None:
        """Compute in a thread what `record_edit` would take long for; `None` if it is to do that itself.

        `edit` was begun when `Draft.version` was `version`; it changes with the labels.
        """
        labels, runs = self.labels.copy(), edit.voxel_runs
        is_too_large = int(runs["new"].max(initial=0)) > np.iinfo(labels.dtype).max
        if is_too_large or edit.shape != labels.shape or not have_values(labels.reshape(-1), runs, "old"):
            return None
        write_values(labels.reshape(-1), runs, "new")
        return PreparedStroke(edit.stroke, labels, count_differences(labels, self._predicted), version)

    def undo(self) -> Stroke | None:
        """Undo the last stroke in journal and labels; return it, or `None`. Unlimited, also after a restart."""
        stroke = self._journal.undo() if self.can_undo else None
        if stroke is not None:
            self._apply_stroke(stroke, "old", self._journal.applied_strokes)
        return stroke

    def redo(self) -> Stroke | None:
        """Redo the last undone stroke in journal and labels; return it, or `None`."""
        stroke = self._journal.redo()
        if stroke is not None:
            self._apply_stroke(stroke, "new", self._journal.applied_strokes[:-1])
        return stroke

    def reset(self) -> NDArray[Any]:
        """Restore the prediction and clear the edited voxels. This is one stroke, so it can be undone."""
        if self.edited.n_voxels:
            self._record_difference(self._predicted, StrokeKind.RESET)
        return self.labels

    def merge(self, labels: NDArray[Any], model: str) -> NDArray[Any]:
        """Merge a new prediction of the same shape; edited voxels keep their value. Can be undone."""
        self._check_shape(labels)
        self._add_stroke(Stroke.from_difference(StrokeKind.PREDICTION, self._predicted, labels, model))
        return self.labels

    def carry_over(self, labels: NDArray[Any]) -> None:
        """Start from previously accepted labels of the same shape. They count as edited and cannot be undone."""
        self._check_shape(labels)
        self._record_difference(labels, StrokeKind.CARRIED_OVER)

    def record_missed_changes(self, labels: NDArray[Any]) -> None:
        """Record the difference between `labels` (same shape) and the draft as a stroke, if there is any."""
        self._check_shape(labels)
        if labels is not self.labels and not have_equal_labels(labels, self.labels):
            self._record_difference(labels, StrokeKind.PAINT)

    def close(self) -> None:
        """Flush and close the journal; the draft can be opened again."""
        self._journal.close()

    def _record_difference(self, wanted: NDArray[Any], kind: StrokeKind) -> None:
        self._add_stroke(Stroke.from_difference(kind, self.labels, wanted))

    def _add_stroke(self, stroke: Stroke) -> None:
        if stroke.lies_outside(self.labels.size):
            raise MedSegError(
                f"a stroke lies outside {self.case.name}. Open the case again; the draft was not changed."
            )
        edited = self._edited
        self._journal.add(stroke)
        self._apply_stroke(stroke, "new", self._journal.applied_strokes[:-1])
        if edited is not None and stroke.kind is StrokeKind.PAINT:
            self._edited = edited.join(stroke.spans)

    def _apply_stroke(self, stroke: Stroke, column: str, below: Sequence[Stroke], *, is_read: bool = False) -> None:
        """Write a column of a stroke, ``"new"`` or ``"old"``, count the changed voxels; `below` holds older strokes."""
        runs = stroke.voxel_runs
        self._widen(max(int(runs["old"].max(initial=0)), int(runs["new"].max(initial=0))))
        self._edited = None
        self.version += 1
        counts = self._counts.setdefault(stroke, {})  # undo and redo lead to the same labels each time
        counts["old" if column == "new" else "new"] = self._n_changed
        labels, predicted = self.labels.reshape(-1), self._predicted.reshape(-1)
        if stroke.kind is StrokeKind.PREDICTION:
            indices, after = stroke.indices, stroke.new if column == "new" else stroke.old
            predicted[indices] = after
            free = ~find_edited_spans(below).contain(indices)
            labels[indices[free]] = after[free]
            self._n_changed = count_differences(labels, predicted)
        elif column in counts or int(runs["length"].sum(dtype=np.int64)) * MAX_SPARSENESS > labels.size:
            write_values(labels, runs, column)
            self._n_changed = counts[column] if column in counts else count_differences(labels, predicted)
        elif runs.size:
            rows = slice(int(runs["start"].min()), int((runs["start"] + runs["length"]).max()))
            # What paints into these labels has written the new values already; a stroke before one that is read may be
            # lost, so that its old values were never there.
            if not is_read:
                write_values(labels, runs, "old" if column == "new" else "new")
            self._n_changed -= count_differences(labels[rows], predicted[rows])
            write_values(labels, runs, column)
            self._n_changed += count_differences(labels[rows], predicted[rows])

    def _widen(self, largest: int) -> None:
        """Use a wider integer type if a label value does not fit, such as the number of another 65,536th object."""
        if largest > np.iinfo(self.labels.dtype).max:
            wider = np.min_scalar_type(largest)
            self.labels, self._predicted = self.labels.astype(wider), self._predicted.astype(wider)

    def _check_shape(self, labels: NDArray[Any]) -> None:
        if labels.shape != self.labels.shape:
            raise MedSegError(
                f"these labels have shape {labels.shape}, but {self.case.name} needs {self.labels.shape}. "
                "Use the labels layer that belongs to the case."
            )
