"""The scores before and after each retrain, from the folders of the runs."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.grouping.keyed_groups import get_group_of_source, is_keyed_group
from napari_medseg.core.records import Run, RunState
from training.evaluation.run_verdict import read_compared_cases, read_earlier_comparisons, read_verdict
from training.run_folder import Compared, Finished, read_events

NAMES_LEFT_OUT = (
    "left out, because it names cases as an older version of the program did. medseg groups remove-old-names replaces "
    "these names; --names shows them."
)
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


def read_retrains(
    folder: Path, runs: Sequence[Run], known: Collection[str] | None, problems: list[str]
) -> list[Retrain]:
    """Read the outcome of each run; a run whose files are damaged is described by its row, and the problem is added.

    Parameters
    ----------
    folder, runs
        Project folder, and its runs.
    known
        Names of cases that a verdict may hold. If it names another case, as in runs of older versions of the program,
        it is left out; `None` shows all.
    problems
        Problems are appended to it.
    """
    found = []
    for run in runs:
        try:
            found.append(_read_retrain(folder / run.folder, run, known))
        except (MedSegError, OSError) as error:
            problems.append(f"the files of the run {run.id} cannot be read: {get_reason(error)}.")
            found.append(_describe(run, [], "", None))
    return found


def _read_retrain(run_dir: Path, run: Run, known: Collection[str] | None) -> Retrain:
    compared = read_compared_cases(run_dir)
    verdict = read_verdict(run_dir, read_earlier_comparisons(run_dir) or 0).text if compared else ""
    if known is not None and any(_names_someone(verdict, case, known) for case in compared):
        verdict = NAMES_LEFT_OUT
    ended = [event.seconds for event, _ in read_events(run_dir) if isinstance(event, Finished)]
    return _describe(run, compared, verdict, ended[-1] if ended else None)


def _names_someone(text: str, case: Compared, known: Collection[str]) -> bool:
    group = "" if is_keyed_group(get_group_of_source(case.group)) else case.group
    return (case.case not in known and case.case in text) or (bool(group) and group not in known and group in text)


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
