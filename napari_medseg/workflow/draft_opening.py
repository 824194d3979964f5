"""Opening of the draft of a review, in two halves.

`begin_review` uses the database, so it belongs in the main thread, and is quick. `load_draft` reads, converts and
copies the labels, which takes a second for a large volume; it only uses files and may run in a worker thread.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import remove_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import get_draft_region_path, read_review_region
from napari_medseg.core.project.strokes import StrokeKind
from napari_medseg.core.project.undo_journal import StrokeJournal, get_journal_path
from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState, now
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.guidance.seen_places import get_seen_places_path
from napari_medseg.workflow.merge_labels import have_equal_labels
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class ReviewStart:
    """An open review, and what its labels are made of.

    Parameters
    ----------
    folder, case, review
        Project folder, case, and its open review.
    first
        Prediction with which the review began; `None` if it began with empty labels.
    newest
        Prediction to update a draft without edits to; not that of a second reading.
    correction
        Correction of the case that counts; a review of an accepted case starts from it. A second reading is blind: it
        starts from an own one only.
    was_compared
        Whether a person chose among the readings of the case, so that another correction may count than when the review
        was opened.
    is_of_instances
        Whether labels are object numbers.
    label_dtype
        Smallest type that the labels have.
    is_new
        Whether the review was inserted now.
    """

    folder: Path
    case: Case
    review: Review
    first: Prediction | None
    newest: Prediction | None
    correction: Correction | None
    was_compared: bool
    is_of_instances: bool
    label_dtype: np.dtype[Any]
    is_new: bool = False


def begin_review(ws: Workspace, case: Case, prediction: Prediction | None) -> ReviewStart:
    """Find the open review of a case, or insert one; call this in the main thread."""
    history = ws.second_readings.show_to_reader(ws.project.read_case_history(case.id))
    beginning = history.prediction if history.reading == SECOND else prediction
    review = history.open_review or _insert_review(ws, case, beginning, history.reading)
    task = ws.tasks.get_task(case.task)
    return ReviewStart(
        folder=ws.project.folder,
        case=case,
        review=review,
        first=None if review.prediction_id is None else ws.project.get_record(Prediction, review.prediction_id),
        newest=prediction,
        correction=history.correction,
        was_compared=ws.second_readings.was_compared(case),
        is_of_instances=task.instances,
        label_dtype=np.dtype(np.uint16) if task.instances else np.min_scalar_type(task.largest_value),
        is_new=history.open_review is None,
    )


def withdraw_review(ws: Workspace, start: ReviewStart) -> None:
    """Remove a review that was opened for work that failed, with its journal; call this in the main thread.

    One that was there before stays, and one in which somebody set voxels meanwhile. Its draft must be closed.
    """
    path = get_journal_path(start.folder, start.review.id)
    strokes = StrokeJournal(path).applied_strokes if path.exists() else []
    if start.is_new and all(stroke.kind is StrokeKind.CARRIED_OVER for stroke in strokes):
        # First, and all of them: the next review can get the same id.
        for file in (get_draft_region_path(path), get_seen_places_path(start.folder, start.review), path):
            remove_file(file)
        ws.project.withdraw_review(start.review)


def load_draft(start: ReviewStart, labels: NDArray[Any] | None = None) -> Draft:
    """Make the draft of a review from its files; call this in any thread.

    `labels` are the labels of `start.newest` if they are in memory; then its file is not read again.

    Raises
    ------
    MedSegError
        If a label file or the journal is missing or damaged.
    """
    draft = _make_draft(start, labels if start.newest == start.first else None)
    newest, correction = start.newest, start.correction
    if correction is not None:
        draft.set_initial_review_region(read_review_region(start.folder, start.case, correction))
    if correction is not None and not draft.has_records:
        # The journal decides, not the row of the review: an opening that was interrupted is done again.
        draft.carry_over(_read_paintable_labels(start, correction))
    elif correction is not None and start.was_compared and not draft.n_paint_strokes:
        _follow_chosen_reading(draft, _read_paintable_labels(start, correction))
    elif newest is not None and _is_updated(start) and not draft.edited.n_voxels and _is_by_other(newest, start, draft):
        labels = _read_paintable_labels(start, newest)
        if newest.model != draft.model or not have_equal_labels(labels, draft.labels):
            draft.merge(labels, newest.model)
    return draft


def measure_draft(start: ReviewStart) -> tuple[float, int]:
    """Return the seconds worked and the changed voxels of a review that is not loaded; nothing is written.

    If the labels cannot be read, no voxel counts, and if the journal cannot be read, no second either: a case with
    damaged files can still be rejected.
    """
    path = get_journal_path(start.folder, start.review.id)
    if not path.exists():
        return 0.0, 0
    try:
        draft = _make_draft(start, None)
    except MedSegError:
        with contextlib.suppress(MedSegError):
            return StrokeJournal(path).seconds, 0
        return 0.0, 0
    return draft.seconds, draft.changed_voxels


def _is_updated(start: ReviewStart) -> bool:
    """Whether the draft follows a newer prediction; a second reading keeps that of the first review."""
    return start.newest != start.first and start.review.reading != SECOND


def _is_by_other(newest: Prediction, start: ReviewStart, draft: Draft) -> bool:
    """Whether another version, or another adapted state of the version, made the newest prediction."""
    first = "" if start.first is None else start.first.adapted_sha256
    return newest.model != draft.model or newest.adapted_sha256 != first


def _make_draft(start: ReviewStart, labels: NDArray[Any] | None) -> Draft:
    journal = StrokeJournal(get_journal_path(start.folder, start.review.id))
    if start.first is None:
        return Draft(start.review, start.case, journal, np.zeros(start.case.spatial_shape, start.label_dtype), "")
    if labels is None:
        labels = read_case_labels(start.folder, start.case, start.first)
    return Draft(start.review, start.case, journal, _make_paintable(start, labels), start.first.model)


def _read_paintable_labels(start: ReviewStart, record: Prediction | Correction) -> NDArray[Any]:
    return _make_paintable(start, read_case_labels(start.folder, start.case, record))


def _make_paintable(start: ReviewStart, labels: NDArray[Any]) -> NDArray[Any]:
    """Copy labels to the smallest unsigned integer type that holds their values and all labels of the task.

    Object numbers get 16 bits while half of those are free, as napari draws them twenty times as fast as 32 bits. A
    draft that needs more later becomes wider by itself.
    """
    smallest = np.min_scalar_type(int(labels.max(initial=0)) * (2 if start.is_of_instances else 1))
    return labels.astype(np.promote_types(smallest, start.label_dtype))


def _follow_chosen_reading(draft: Draft, labels: NDArray[Any]) -> None:
    """Start again from the labels of another reader, which were chosen after this review was opened."""
    if not have_equal_labels(labels, draft.labels):
        draft.carry_over(labels)


def _insert_review(ws: Workspace, case: Case, prediction: Prediction | None, reading: int) -> Review:
    return ws.project.insert(
        Review(
            id=0,
            case_id=case.id,
            prediction_id=None if prediction is None else prediction.id,
            state=ReviewState.OPEN,
            seconds=0.0,
            changed_voxels=0,
            who=ws.reader.key(),
            opened=now(),
            closed=None,
            reading=reading,
        )
    )
