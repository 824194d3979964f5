"""How a run ended, and whether its new version waits for a decision.

An event of an earlier process of a run that went on is not its end.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.records import Run, RunState
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import LOG_FILE, WEIGHTS_FILE, Event, Failed, Finished, Notice, Paused, Started, read_events

N_LOG_LINES, LOG_TAIL_BYTES = 5, 2**16
RESUMED = Notice("the run is resumed")
"""Written when a run goes on, before its process starts."""


def find_final_event(run_dir: Path, heard: float = math.inf) -> Finished | Failed | Paused | None:
    """Return the event with which a run ended or paused; `None` if its process is at work or died.

    Only events up to the byte `heard` are used.
    """
    events = [event for event, end in read_events(run_dir) if end <= heard]
    words = [event for event in events[_find_last_start(events) :] if isinstance(event, Finished | Failed)]
    if words:
        return words[-1]
    return events[-1] if events and isinstance(events[-1], Paused) else None


def drop_earlier_failures(events: Sequence[Event]) -> list[Event]:
    """Return the events without failures after which the run went on: they are no longer news."""
    begun = _find_last_start(events)
    return [event for n, event in enumerate(events) if n >= begun or not isinstance(event, Failed)]


def list_undecided_runs(ws: Workspace) -> list[Run]:
    """Return the last run of each task that ended with a candidate which was neither promoted nor kept."""
    last = {run.task: run for run in ws.project.read_records(Run)}
    return [run for run in last.values() if run.state in (RunState.FINISHED, RunState.CANCELLED)]


def find_waiting_comparison(ws: Workspace, task: str) -> Run | None:
    """Return the run of a task whose new version is there and was neither promoted nor kept; `None` if none is."""
    waiting = [run for run in list_undecided_runs(ws) if run.task == task]
    return next((run for run in waiting if (ws.project.folder / run.folder / WEIGHTS_FILE).is_file()), None)


def _find_last_start(events: Sequence[Event]) -> int:
    return max((n for n, event in enumerate(events) if isinstance(event, Started) or event == RESUMED), default=0)


def read_log_tail(run_dir: Path) -> str:
    """Return the last lines of the log of a run, for a message."""
    path = run_dir / LOG_FILE
    if not path.is_file():
        return "it has no log"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-N_LOG_LINES:]) or "its log is empty"
