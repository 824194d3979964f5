"""Which state predicts the next draft, and what happens if it cannot: the live version does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.records import Case, Prediction
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.workflow.cases import CaseRow, list_current_corrections
from napari_medseg.workflow.learning.choice import list_usable
from napari_medseg.workflow.learning.states import AdaptedState, AdaptedStates
from napari_medseg.workflow.workspace import Workspace


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptedResult(PredictionResult):
    """The result of a prediction by an adapted state."""

    state: AdaptedState


def find_state(ws: Workspace, task: str, model: str) -> AdaptedState | None:
    """Return the adapted state that predicts the next draft with a version; `None`: the version itself does.

    Only the live version is adapted. Call it in the main thread.
    """
    if not ws.adapted.is_on or ws.adapted.get(task) is None:
        return None
    live = ws.registry.find_live_card(task)
    if live is None or live.id != model:
        return None
    usable = [correction.id for _, correction in list_usable(list_current_corrections(ws, task))]
    return ws.adapted.find(task, live, usable)


def choose_state(ws: Workspace, case: Case, model: str) -> AdaptedState | None:
    """Return the state that predicts a case with a version, as `find_state`; never one of a blind second reading.

    The state may have learnt from the first reading of the same case.
    """
    return None if ws.second_readings.is_blind(case) else find_state(ws, case.task, model)


def predict_by_state(
    states: AdaptedStates, state: AdaptedState, ask: Callable[[AdaptedState | None], Iterator[PredictionEvent]]
) -> Iterator[PredictionEvent]:
    """Predict with a state, or with the live version if that is impossible; it may run in a worker thread.

    Parameters
    ----------
    states, state
        Where the state is dropped if it cannot predict, and the state.
    ask
        Starts a prediction with a state, or with the live version (`None`).

    Raises
    ------
    MedSegError
        If the live version cannot predict, either, or the prediction was cancelled.
    """
    if not (problem := state.find_damage()):
        try:
            for event in ask(state):
                yield _add_state(event, state) if isinstance(event, PredictionResult) else event
            return
        except PredictionCancelled:
            raise
        except MedSegError as error:
            problem = get_reason(error)
    for event in ask(None):
        if isinstance(event, PredictionResult):  # so the image is not what is wrong
            n_cases = len(state.corrections)
            states.drop(state, f"{state.parent} drafts without what it learnt from {n_cases} cases: {problem}.")
        yield event


def is_drafted_by(prediction: Prediction, state: AdaptedState | None) -> bool:
    """Whether the newest state made a prediction of its parent; without a state, whether the version itself did."""
    return prediction.adapted_sha256 == ("" if state is None else state.sha256)


def find_withdrawn_drafts(ws: Workspace, rows: Sequence[CaseRow], state: AdaptedState | None) -> set[int]:
    """Return the ids of cases whose untouched draft learnt from what no longer counts; they are predicted again.

    A correction that it learnt from was changed or withdrawn, or no state is in use: it was dropped, or learning was
    switched off. A draft of an older state whose corrections still count stays.

    Parameters
    ----------
    ws, rows
        The workspace, and cases of one task.
    state
        The state of `find_state`.
    """
    drafts = {
        row.case.id: row.prediction
        for row in rows
        if row.prediction is not None and row.prediction.adapted_sha256 and row.state == "predicted"
    }
    if state is None or not drafts:
        return {*drafts}
    usable = {correction.id for _, correction in list_usable(list_current_corrections(ws, state.task))}
    return {case_id for case_id, draft in drafts.items() if not usable.issuperset(draft.adapted_corrections)}


def _add_state(result: PredictionResult, state: AdaptedState) -> AdaptedResult:
    return AdaptedResult(**{part.name: getattr(result, part.name) for part in fields(PredictionResult)}, state=state)
