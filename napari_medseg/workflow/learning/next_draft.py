"""Which state predicts the next draft, and what happens if it cannot: the live version does."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, fields

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.records import Case
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
    states: AdaptedStates,
    state: AdaptedState,
    case: Case,
    ask: Callable[[AdaptedState | None], Iterator[PredictionEvent]],
) -> Iterator[PredictionEvent]:
    """Predict with a state, or with the live version if that is impossible; it may run in a worker thread.

    The live version predicts an image, too, that is more like its training images than like what the state learnt
    from: so nothing that it knew is forgotten.

    Parameters
    ----------
    states, state
        Where the state is dropped if it cannot predict, and the state.
    case
        Case of the image.
    ask
        Starts a prediction with a state, or with the live version (`None`).

    Raises
    ------
    MedSegError
        If the live version cannot predict, either, or the prediction was cancelled.
    """
    if not (problem := state.find_damage()):
        try:
            if (yield from _predict_unless_known(state, ask(state))):
                return
            states.leave_to_version(state, case)
        except PredictionCancelled:
            raise
        except MedSegError as error:
            problem = get_reason(error)
    for event in ask(None):
        if problem and isinstance(event, PredictionResult):  # so the image is not what is wrong
            n_cases = len(state.corrections)
            states.drop(state, f"{state.parent} drafts without what it learnt from {n_cases} cases: {problem}.")
        yield event


def _predict_unless_known(
    state: AdaptedState, events: Iterator[PredictionEvent]
) -> Generator[PredictionEvent, None, bool]:
    """Yield what a state predicts; return False without a result if the image is like the version's training images."""
    for event in events:
        if isinstance(event, PredictionResult):
            if event.is_like_training:
                return False
            yield _add_state(event, state)
        else:
            yield event
    return True


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
