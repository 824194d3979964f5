"""Predict, correct, decide: one person's pass over a case, of which nothing is lost.

What `predict` returns, and `write_accepted`, touch files only and may run in a worker thread; the rest belongs to the
main thread.
"""

import getpass
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.custom_task import extends
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import StoredLabels, read_labels, write_copy, write_labels
from napari_medseg.core.project.review_region_files import area_of, write_area
from napari_medseg.core.project.stroke_journal import Journal, journal_path
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState, now
from napari_medseg.core.review_region import Area
from napari_medseg.core.tasks import Task
from napari_medseg.inference.engine.client import EngineEvent, PredictResult
from napari_medseg.workflow.cases import case_list
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True)
class Accepted:
    """What `write_accepted` put on disk, for `remember_accepted`."""

    image_file: str
    labels: StoredLabels
    reviewed: StoredLabels


def predict(
    ws: Workspace, case: Case, image: Image, model: str | None = None, *, with_uncertainty_map: bool = False
) -> Iterator[EngineEvent]:
    """Call it in the main thread; what it returns yields the engine's events up to the result, in a worker thread.

    The label file is written here too, so that `remember_prediction` has only its row to write.

    Parameters
    ----------
    ws, case, image
        `image` is the case's, as `cases.load_image` gives it.
    model
        Version such as ``lungs-unet@2``; the live one of the case's task without it.
    with_uncertainty_map
        Whether the result says for each voxel how unsure it is.

    Raises
    ------
    MedSegError
        If the version labels something else, or the prediction fails or is cancelled.
    """
    version = ws.registry.live(case.task).id if model is None else model
    _refuse_other_labels(ws, version, case)
    events = ws.engine.predict(
        image,
        ws.registry.folder(version),
        with_uncertainty_map=with_uncertainty_map,
        field_folder=ws.field_folder(version),
    )
    return _keeping_labels(events, ws.project.folder, case)


def remember_prediction(ws: Workspace, case: Case, result: PredictResult, model: str) -> Prediction:
    """Write the row of a prediction (and its label file where `predict` did not)."""
    stored = write_labels(ws.project.folder, case, "prediction", result.labels)
    field = "" if result.field is None else write_labels(ws.project.folder, case, "field", result.field).file
    return ws.project.insert(
        Prediction(
            id=0,
            case_id=case.id,
            model=model,
            labels_file=stored.file,
            sha256=stored.sha256,
            seconds=result.seconds,
            uncertainty=result.uncertainty,
            created=now(),
            field_file=field,
            field_model=ws.registry.field_model(model) if field else "",
        )
    )


def open_review(ws: Workspace, case: Case, prediction: Prediction | None) -> Draft:
    """Open a case for correction: its open review with all strokes, or a new one.

    A new review of a case that was accepted before starts from what was accepted. A draft without edits takes over a
    newer `prediction`; one with edits stays as it is until `merge_prediction`.
    """
    waiting = [r for r in ws.project.rows(Review, "case_id", case.id) if r.state is ReviewState.OPEN]
    review = waiting[-1] if waiting else _new_review(ws, case, prediction)
    first = ws.project.one(Prediction, review.prediction_id) if review.prediction_id is not None else None
    draft = _draft(ws, case, review, first)
    corrections = ws.project.rows(Correction, "case_id", case.id)
    if corrections:
        draft.begin_with_area(area_of(ws.project.folder, case, corrections[-1]))
    if not waiting and corrections:
        draft.carry_over(_labels_of(ws, case, corrections[-1]))
    elif prediction is not None and prediction != first and not draft.edited.size and prediction.model != draft.model:
        draft.merge(_labels_of(ws, case, prediction), prediction.model)
    return draft


def merge_prediction(draft: Draft, new_labels: NDArray[Any], model: str = "") -> NDArray[Any]:
    """Put a new prediction under a draft and return its labels; voxels that a person edited keep their value.

    Parameters
    ----------
    draft
        Its `labels` array is changed in place; `undo` takes the prediction back.
    new_labels
        On the same grid.
    model
        Version that made them; the draft's own without it.
    """
    return draft.merge(new_labels, model or draft.model)


def write_accepted(folder: Path, task: Task, case: Case, labels: NDArray[Any], image: Image, area: Area) -> Accepted:
    """Check labels of a case of `task`, and write them and a copy of the image into the project folder.

    For a worker thread, as they may be large. Of a partly reviewed image, the `area` is written beside the labels.

    Raises
    ------
    MedSegError
        If the image is another one, nothing of it was reviewed, or a check finds what must not become ground truth
        (swapped sides, unknown values, another shape); the text says which.
    """
    if image.content_hash != case.content_hash:
        raise MedSegError(f"this image is not that of {case.name}. Open the case again before you accept it.")
    with ThreadPoolExecutor(1) as beside:  # compressing a large volume takes as long as checking its labels
        copying = beside.submit(write_copy, folder, image)
        findings = check_labels(labels, task, image)
        if blocking := [finding.text for finding in findings if finding.blocking]:
            raise MedSegError(
                f"{case.name} cannot be accepted: {'; '.join(blocking)}. Correct the labels, then accept."
            )
        reviewed = write_area(folder, case, area)
        return Accepted(copying.result(), write_labels(folder, case, "correction", labels), reviewed)


def remember_accepted(ws: Workspace, draft: Draft, labels: NDArray[Any], accepted: Accepted) -> Correction:
    """Write the rows of an accepted review: files came first, so a crash in between leaves the draft open."""
    draft.catch_up(labels)
    review = _closed(draft, ReviewState.ACCEPTED)
    with ws.project.transaction():
        correction = ws.project.insert(
            Correction(
                id=0,
                review_id=review.id,
                case_id=review.case_id,
                model=draft.model,
                image_file=accepted.image_file,
                labels_file=accepted.labels.file,
                sha256=accepted.labels.sha256,
                seconds=review.seconds,
                changed_voxels=review.changed_voxels,
                who=review.who,
                created=now(),
                reviewed_file=accepted.reviewed.file,
                reviewed_sha256=accepted.reviewed.sha256,
            )
        )
        ws.project.close_review(review)
    draft.close()
    return correction


def accept(ws: Workspace, draft: Draft, labels: NDArray[Any], image: Image) -> Correction:
    """Make the labels an immutable correction; raises like `write_accepted`, and then the draft stays open."""
    task = ws.tasks.named(draft.case.task)
    written = write_accepted(ws.project.folder, task, draft.case, labels, image, draft.area)
    return remember_accepted(ws, draft, labels, written)


def reject(ws: Workspace, draft: Draft) -> None:
    """Close the review without a correction: the case is of no use. Its strokes stay in the journal."""
    ws.project.close_review(_closed(draft, ReviewState.REJECTED))
    draft.close()


def reset(ws: Workspace, draft: Draft) -> NDArray[Any]:
    """Bring the prediction back and return the labels; `undo` brings the edits back."""
    return draft.reset()


def drafts_waiting(ws: Workspace) -> list[Case]:
    """Cases with strokes that were neither accepted nor rejected, the one last worked on first."""
    drafts = [(row.case, row.review) for row in case_list(ws) if row.state == "draft" and row.review is not None]
    drafts.sort(key=lambda draft: journal_path(ws.project.folder, draft[1].id).stat().st_mtime, reverse=True)
    return [case for case, _ in drafts]


def _keeping_labels(events: Iterator[EngineEvent], folder: Path, case: Case) -> Iterator[EngineEvent]:
    for event in events:
        if isinstance(event, PredictResult):
            write_labels(folder, case, "prediction", event.labels)
            if event.field is not None:
                write_labels(folder, case, "field", event.field)
        yield event


def _new_review(ws: Workspace, case: Case, prediction: Prediction | None) -> Review:
    return ws.project.insert(
        Review(
            id=0,
            case_id=case.id,
            prediction_id=None if prediction is None else prediction.id,
            state=ReviewState.OPEN,
            seconds=0.0,
            changed_voxels=0,
            who=_who(),
            opened=now(),
            closed=None,
        )
    )


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have a number and no name
        return "unknown"


def _draft(ws: Workspace, case: Case, review: Review, prediction: Prediction | None) -> Draft:
    journal = Journal(journal_path(ws.project.folder, review.id))
    if prediction is not None:
        return Draft(review, case, journal, _labels_of(ws, case, prediction), prediction.model)
    return Draft(review, case, journal, np.zeros(case.shape[: len(case.axes.replace("C", ""))], _room(ws, case)), "")


def _refuse_other_labels(ws: Workspace, model: str, case: Case) -> None:
    """Refuse a version that was made for a task of the same name with other labels, as another person's may be."""
    if not extends(ws.tasks.named(case.task), ws.registry.card(model).labelled_as):
        raise MedSegError(
            f"{model} was made for other labels than those of the task {case.task!r} in this project. Choose another "
            "model, or train one here."
        )


def _labels_of(ws: Workspace, case: Case, record: Prediction | Correction) -> NDArray[Any]:
    """Read labels with room for all that a person may paint: a file holds the smallest type that suffices."""
    labels = read_labels(ws.project.folder, case, record)
    return labels.astype(np.promote_types(labels.dtype, _room(ws, case)), copy=False)


def _room(ws: Workspace, case: Case) -> np.dtype[Any]:
    return np.min_scalar_type(ws.tasks.named(case.task).largest_value)


def _closed(draft: Draft, state: ReviewState) -> Review:
    return replace(draft.review, state=state, seconds=draft.seconds, changed_voxels=draft.changed_voxels, closed=now())
