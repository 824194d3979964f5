"""Review of a case: predict, correct, then accept or reject. All strokes are kept.

The iterator from `predict` only accesses files and may run in a worker thread. Call all other functions in the main
thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import StoredLabels, write_case_labels
from napari_medseg.core.project.undo_journal import get_journal_path
from napari_medseg.core.readings.records import SECOND, DraftAgreement
from napari_medseg.core.records import Case, Correction, ImportedMask, Prediction, Review, ReviewState, now
from napari_medseg.core.tasks.absence import explain_absence
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import extends
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.workflow.accepted_files import AcceptedFiles, write_accepted_files
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.draft_opening import begin_review, load_draft, measure_draft
from napari_medseg.workflow.drafts import Draft
from napari_medseg.workflow.guidance.probability_cache import (
    evict_probabilities,
    find_prediction,
    get_probabilities_path,
)
from napari_medseg.workflow.guidance.seen_places import SeenPlaces, get_seen_places_path, read_seen_places
from napari_medseg.workflow.learning.next_draft import AdaptedResult, predict_by_state
from napari_medseg.workflow.learning.states import AdaptedState
from napari_medseg.workflow.merge_labels import keep_object_numbers
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True, eq=False, kw_only=True)
class WrittenPrediction(PredictionResult):
    """The result of a prediction whose labels are written already; `roi_file` is empty without a region of interest.

    `remark` says what is suspicious about the labels, or is empty. `state` is the adapted state that predicted, if any.
    """

    stored: StoredLabels
    roi_file: str
    remark: str = ""
    state: AdaptedState | None = None


def predict(
    ws: Workspace,
    case: Case,
    image: Image,
    model: str | None = None,
    *,
    with_uncertainty_map: bool = False,
    with_probabilities: bool = False,
    state: AdaptedState | None = None,
) -> Iterator[PredictionEvent]:
    """Predict a case. Call this in the main thread; the returned iterator may be consumed in a worker thread.

    The iterator yields the events of the engine up to the result. It also writes the label file, so that
    `record_prediction` only has to write the database row.

    Parameters
    ----------
    ws, case, image
        `image` is the image of the case, as returned by `cases.load_image`.
    model
        Version such as ``lungs-unet@2``; `None` means the live version of the task of the case.
    with_uncertainty_map
        Whether the result contains the uncertainty of each voxel.
    with_probabilities
        Whether the probabilities are kept in the project's cache, see `workflow.guidance.probability_cache`.
    state
        Adapted state of the version that predicts, see `workflow.learning`; if it cannot, the version itself does.

    Raises
    ------
    MedSegError
        If the version was made for other labels, or the prediction fails or is cancelled.
    """
    version = ws.registry.get_live_card(case.task).id if model is None else model
    _check_model_labels(ws, version, case)
    roi_model = ws.registry.find_roi_model(ws.registry.get_card(version))
    roi_name, folder = "" if roi_model is None else roi_model.id, ws.project.folder
    version_folder = ws.registry.get_folder(version)
    roi_folder = None if roi_model is None else ws.registry.get_folder(roi_model.id)

    def ask(by: AdaptedState | None) -> Iterator[PredictionEvent]:
        kept_as = get_probabilities_path(folder, case, version, roi_name, "" if by is None else by.sha256)
        return ws.engine.predict(
            image,
            version_folder if by is None else by.folder,
            with_uncertainty_map=with_uncertainty_map,
            roi_folder=roi_folder,
            probabilities_file=kept_as if with_probabilities else None,
        )

    events = ask(None) if state is None else predict_by_state(ws.adapted, state, case, ask)
    return _write_predicted_labels(events, folder, case, ws.tasks.get_task(case.task), image)


def record_prediction(ws: Workspace, case: Case, result: PredictionResult, model: str) -> Prediction:
    """Write the database row of a prediction, and its label file if `predict` did not write it."""
    written = result if isinstance(result, WrittenPrediction) else _write_result(ws.project.folder, case, result)
    roi_model = ws.registry.find_roi_model(ws.registry.get_card(model)) if written.roi_file else None
    return ws.project.insert(
        Prediction(
            id=0,
            case_id=case.id,
            model=model,
            labels_file=written.stored.file,
            sha256=written.stored.sha256,
            seconds=result.seconds,
            uncertainty=result.uncertainty,
            created=now(),
            field_file=written.roi_file,
            field_model="" if roi_model is None else roi_model.id,
            domain_distance=result.domain_distance,
            remark=written.remark,
            adapted_sha256="" if written.state is None else written.state.sha256,
            adapted_corrections=() if written.state is None else written.state.corrections,
            device=result.device,
            runtime=result.runtime,
        )
    )


def open_review(ws: Workspace, case: Case, prediction: Prediction | None, labels: NDArray[Any] | None = None) -> Draft:
    """Open a case for correction: continue its open review with all strokes, or start a new one.

    A new review of an accepted case starts from the accepted labels. A draft without edits is updated to a newer
    `prediction`; a draft with edits is not changed until `merge_prediction`. `labels` are the labels of `prediction`
    if they are in memory; then its file is not read again.
    """
    return load_draft(begin_review(ws, case, prediction), labels)


def merge_prediction(
    draft: Draft, new_labels: NDArray[Any], model: str = "", *, has_objects: bool = False
) -> NDArray[Any]:
    """Merge a new prediction into a draft and return the labels; edited voxels keep their value.

    Parameters
    ----------
    draft
        Its `labels` array is changed in place; `undo` reverts the merge.
    new_labels
        Predicted labels, integer, same shape as `draft.labels`.
    model
        Version that predicted them; empty means the version of the draft.
    has_objects
        Whether the labels are object numbers: then new objects are numbered so that they join none of a person's.
    """
    if has_objects:
        new_labels = keep_object_numbers(new_labels, draft.labels, draft.edited_indices)
    return draft.merge(new_labels, model or draft.model)


def record_correction(
    ws: Workspace, draft: Draft, labels: NDArray[Any], accepted: AcceptedFiles, who: str = ""
) -> Correction:
    """Write the database rows of an accepted review. The files exist already, so after a crash the draft is open.

    `who` is the label of the person who accepted; empty means the one who works now.
    """
    draft.record_missed_changes(labels)
    review = _close(ws, draft.review, ReviewState.ACCEPTED, draft.seconds, draft.changed_voxels)
    review = replace(review, who=who) if who else review
    imported = ws.project.read_records(ImportedMask, "review_id", review.id)
    proposed = _find_proposed(ws, draft)
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
                reviewed_file=accepted.reviewed_mask.file,
                reviewed_sha256=accepted.reviewed_mask.sha256,
                imported=imported[-1].text if imported else "",
                reading=review.reading,
                adapted_sha256="" if proposed is None else proposed.adapted_sha256,
                adapted_corrections=() if proposed is None else proposed.adapted_corrections,
                device="" if proposed is None else proposed.device,
                runtime="" if proposed is None else proposed.runtime,
            )
        )
        if (agreement := accepted.agreement) is not None:
            ws.project.insert(
                DraftAgreement(0, correction.id, agreement.dice, agreement.labelled_voxels, correction.created)
            )
        ws.project.close_review(review)
    draft.close()
    return correction


def _find_proposed(ws: Workspace, draft: Draft) -> Prediction | None:
    """Return the prediction that the person corrected; in a second reading that is the one with which it began."""
    if draft.review.reading == SECOND and draft.review.prediction_id is not None:
        return ws.project.get_record(Prediction, draft.review.prediction_id)
    return find_prediction(ws, draft.case, draft.model)


def accept(ws: Workspace, draft: Draft, labels: NDArray[Any], image: Image) -> Correction:
    """Save the labels as an immutable correction. Raises like `write_accepted_files`; then the draft stays open."""
    task = ws.tasks.get_task(draft.case.task)
    proposed = draft.predicted if draft.model else None
    region = draft.review_region
    written = write_accepted_files(ws.project.folder, task, draft.case, labels, image, region, proposed)
    return record_correction(ws, draft, labels, written)


def reject(ws: Workspace, draft: Draft) -> None:
    """Close the review without a correction, because the case is not usable. Its strokes stay in the journal."""
    ws.project.close_review(_close(ws, draft.review, ReviewState.REJECTED, draft.seconds, draft.changed_voxels))
    draft.close()


def reject_unopened(ws: Workspace, case: Case) -> None:
    """Reject a case whose labels are not loaded: there may be none yet, a draft, or their layer was removed."""
    start = begin_review(ws, case, None)
    seconds, changed_voxels = measure_draft(start)
    ws.project.close_review(_close(ws, start.review, ReviewState.REJECTED, seconds, changed_voxels))


def reset(ws: Workspace, draft: Draft) -> NDArray[Any]:
    """Restore the prediction and return the labels; `undo` restores the edits."""
    return draft.reset()


def list_draft_cases(ws: Workspace) -> list[Case]:
    """Return cases with an open review that has strokes, most recently edited first."""
    rows = list_cases(ws, with_open_review=True)
    drafts = [(row.case, row.review) for row in rows if row.state == "draft" and row.review is not None]
    drafts.sort(key=lambda draft: get_journal_path(ws.project.folder, draft[1].id).stat().st_mtime, reverse=True)
    return [case for case, _ in drafts]


def _write_predicted_labels(
    events: Iterator[PredictionEvent], folder: Path, case: Case, task: Task, image: Image
) -> Iterator[PredictionEvent]:
    for event in events:
        if isinstance(event, PredictionResult):
            event = replace(_write_result(folder, case, event), remark=explain_absence(event.labels, task, image))
        yield event
    evict_probabilities(folder)


def _write_result(folder: Path, case: Case, result: PredictionResult) -> WrittenPrediction:
    """Write and hash the labels of a result; this takes half a second for a large image."""
    return WrittenPrediction(
        **{part.name: getattr(result, part.name) for part in fields(PredictionResult)},
        stored=write_case_labels(folder, case, "prediction", result.labels),
        roi_file="" if result.roi is None else write_case_labels(folder, case, "field", result.roi).file,
        state=result.state if isinstance(result, AdaptedResult) else None,
    )


def _check_model_labels(ws: Workspace, model: str, case: Case) -> None:
    """Raise `MedSegError` if the version was made for a task of the same name but with other labels."""
    if not extends(ws.tasks.get_task(case.task), ws.registry.get_card(model).task_definition):
        raise MedSegError(
            f"{model} was made for other labels than those of the task {case.task!r} in this project. Choose another "
            "model, or train one here."
        )


def _close(ws: Workspace, review: Review, state: ReviewState, seconds: float, changed_voxels: int) -> Review:
    places = read_seen_places(get_seen_places_path(ws.project.folder, review)) or SeenPlaces()
    return replace(
        review,
        state=state,
        who=ws.reader.key(),
        seconds=seconds,
        changed_voxels=changed_voxels,
        closed=now(),
        doubtful_places=places.n_places,
        doubtful_places_seen=len(places.seen),
    )
