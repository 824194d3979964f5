"""The scores before and after each retrain, from the folders of the runs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.records import Run, RunState
from training.evaluation.run_verdict import read_compared_cases, read_earlier_comparisons, read_verdict
from training.run_folder import Compared, Finished, read_events

_STATES = {
    RunState.RUNNING: "under way",
    RunState.PAUSED: "paused",
    RunState.FINISHED: "finished, not decided",
    RunState.CANCELLED: "ended early, not decided",
    RunState.FAILED: "failed",
    RunState.PROMOTED: "promoted",
    RunState.KEPT_OLD: "old version kept",
    RunState.DISCARDED: "discarded",
}


@dataclass(frozen=True)
class Retrain:
    """One run: means of both versions over the compared hold-out cases; `None` if nothing was compared.

    `worst_change` is the lowest change of a case, `seconds` the duration if the run ended.
    """

    run: Run
    state: str
    n_compared: int
    metric: str
    old: float | None
    new: float | None
    worst_change: float | None
    verdict: str
    seconds: float | None


def read_retrains(folder: Path, runs: Sequence[Run], problems: list[str]) -> list[Retrain]:
    """Read the outcome of each run; a run whose files are damaged is described by its row, and the problem is added."""
    found = []
    for run in runs:
        try:
            found.append(_read_retrain(folder / run.folder, run))
        except (MedSegError, OSError) as error:
            problems.append(f"the files of the run {run.id} cannot be read: {get_reason(error)}.")
            found.append(_describe(run, [], "", None))
    return found


def _read_retrain(run_dir: Path, run: Run) -> Retrain:
    compared = read_compared_cases(run_dir)
    verdict = read_verdict(run_dir, read_earlier_comparisons(run_dir) or 0).text if compared else ""
    ended = [event.seconds for event, _ in read_events(run_dir) if isinstance(event, Finished)]
    return _describe(run, compared, verdict, ended[-1] if ended else None)


def _describe(run: Run, compared: Sequence[Compared], verdict: str, seconds: float | None) -> Retrain:
    means = [statistics.fmean(getattr(case, side) for case in compared) for side in ("old", "new")] if compared else []
    return Retrain(
        run=run,
        state=_STATES[run.state],
        n_compared=len(compared),
        metric=compared[0].metric if compared else "Dice",
        old=means[0] if means else None,
        new=means[1] if means else None,
        worst_change=min((case.new - case.old for case in compared), default=None),
        verdict=verdict,
        seconds=seconds,
    )
