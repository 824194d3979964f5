"""Control of a training run: start its process, follow its folder, pause, resume, cancel and discard it."""

import json
import logging
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from napari_medseg.core.atomic_io import atomic_write_text, read_file, remove_unfinished_files
from napari_medseg.core.decoded_size.limit import make_memory_arguments
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.records import Run, RunState
from napari_medseg.window_requirements import can_compute, explain_no_computing
from napari_medseg.workflow.remote.remote_run import MIRROR, is_remote, may_be_at_server, use_own_settings
from napari_medseg.workflow.remote.untold import end_at_server
from napari_medseg.workflow.run_outcome import RESUMED, drop_earlier_failures, find_final_event, read_log_tail
from napari_medseg.workflow.training_set import record_unread_corrections
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import (
    CANCEL_FILE,
    CHECKPOINT_FILE,
    LOG_FILE,
    PAUSE_FILE,
    PROCESS_FILE,
    Event,
    Failed,
    Finished,
    Paused,
    append_event,
    ensure_no_trainer,
    has_trainer,
    is_cancelled,
    read_events,
)

logger = logging.getLogger(__name__)


def get_run_folder(ws: Workspace, run: Run) -> Path:
    """Return the folder of a run."""
    return ws.project.folder / run.folder


def launch_run(ws: Workspace, run: Run, since: float | None = None) -> Run:
    """Start the process of a run whose state is running, `since` as in `start_training`; `MedSegError` if it fails."""
    folder = get_run_folder(ws, run)
    try:
        if is_remote(folder):
            use_own_settings(folder, ws.registry.user_dir)
        process = start_training(folder, since)
    except (OSError, MedSegError) as error:
        ws.project.set_run_state(run, RunState.FAILED)
        raise MedSegError(f"the training process did not start: {get_reason(error)}.") from error
    ws.child_processes[run.id] = process
    logger.info("training run %s started as process %d", run.id, process.pid)
    return run


def poll_run(ws: Workspace, run: Run, offset: int = 0) -> tuple[list[Event], int]:
    """Return the events of a run after the byte `offset`, and the offset for the next call.

    The state of the run is updated when it ends or pauses. If the process died without a final event, a `Failed` event
    with the end of its log is added.
    """
    alive = _is_run_alive(ws, run)  # checked before reading, so that all events of an ended process are read
    events, offset = read_events_after(get_run_folder(ws, run), offset, alive=alive)
    _update_state(ws, run, alive, offset)
    return drop_earlier_failures(events) + _make_missing_failure(ws, run), offset


def read_events_after(run_dir: Path, offset: int, *, alive: bool) -> tuple[list[Event], int]:
    """Return the events after the byte `offset`, and the offset after them.

    A final `Paused` event is returned only after the process has ended. If the run was resumed, other events follow it.
    """
    read = list(read_events(run_dir, offset))
    if alive and read and isinstance(read[-1][0], Paused):
        read.pop()
    return [event for event, _ in read], read[-1][1] if read else offset


def cancel(ws: Workspace, run: Run) -> None:
    """Ask a run to stop and keep its best version so far."""
    (get_run_folder(ws, run) / CANCEL_FILE).touch()


def pause(ws: Workspace, run: Run) -> None:
    """Ask a run to end its process, so that it can be resumed later. A starting process may miss the request."""
    (get_run_folder(ws, run) / PAUSE_FILE).touch()


def resume(ws: Workspace, run: Run, since: float | None = None) -> Run:
    """Resume a run that was paused, died or failed, such as on a full disk; the result is the same.

    `since` is as in `start_training`.

    Raises
    ------
    MedSegError
        If it was neither paused nor interrupted, and did not fail with a checkpoint; if its process is still at work,
        or another run is active.
    """
    if ws.project.get_record(Run, run.id).state is not RunState.RUNNING:
        ensure_no_trainer(get_run_folder(ws, run))
    if not can_resume(ws, run):
        raise MedSegError(
            f"the run {run.id} was neither paused nor interrupted, so it cannot be resumed. Start a new run."
        )
    since = time.time() if since is None else since
    ensure_no_running_run(ws)
    # After it a process that dies immediately counts neither as paused nor as failed for the earlier reason.
    append_event(get_run_folder(ws, run), RESUMED)
    return launch_run(ws, ws.project.set_run_state(run, RunState.RUNNING), since)


def discard(ws: Workspace, run: Run) -> None:
    """Discard a run that was paused or interrupted. Its folder stays; its corrections can be used by the next run.

    Raises
    ------
    MedSegError
        If it was neither paused nor interrupted.
    """
    if not can_resume(ws, run):
        raise MedSegError(f"the run {run.id} was neither paused nor interrupted, so there is nothing to discard.")
    ws.project.set_run_state(run, RunState.DISCARDED)  # first: a run that stays paused needs what the server has
    end_at_server(get_run_folder(ws, run), ws.registry.user_dir, "discard")


def find_running_run(ws: Workspace) -> Run | None:
    """Return the active run, also if an earlier window started it; `None` if there is none."""
    for run in ws.project.read_records(Run, "state", RunState.RUNNING):
        _update_state(ws, run, _is_run_alive(ws, run))
    for run in ws.project.read_records(Run, "state", RunState.FAILED):
        # An older program takes a living run for dead after a step of the clock.
        folder = get_run_folder(ws, run)
        if has_trainer(folder) and not isinstance(find_final_event(folder), Finished | Failed):
            ws.project.set_run_state(run, RunState.RUNNING)
    left = ws.project.read_records(Run, "state", RunState.RUNNING)
    return left[-1] if left else None


def ensure_no_running_run(ws: Workspace) -> None:
    """Raise `MedSegError` if a run is active, because two runs would share the CPU cores."""
    if (other := find_running_run(ws)) is not None:
        raise MedSegError(f"the run {other.id} is under way. Wait for it, or cancel it; its best version is kept.")


def find_paused_run(ws: Workspace, task: str = "") -> Run | None:
    """Return the newest paused run of one task or of all; `None` if there is none."""
    find_running_run(ws)  # first updates the state of a run that paused meanwhile
    waiting = [run for run in ws.project.read_records(Run, "state", RunState.PAUSED) if task in ("", run.task)]
    return waiting[-1] if waiting else None


def can_resume(ws: Workspace, run: Run) -> bool:
    """Whether a run was paused, or died or failed with a checkpoint, here or there; False while a process trains it.

    A cancelled run of a server is resumed to fetch its best version, unless the server never had the run.
    """
    folder = get_run_folder(ws, run)
    if has_trainer(folder):
        return False
    state = ws.project.get_record(Run, run.id).state
    has_checkpoint = (folder / CHECKPOINT_FILE).exists() or may_be_at_server(folder)
    is_failed = state is RunState.FAILED and has_checkpoint
    return state is RunState.PAUSED or is_failed or bool(_make_missing_failure(ws, run))


def get_last_run(ws: Workspace, task: str) -> Run | None:
    """Return the newest run of a task, whatever its state; `None` before the first."""
    runs = ws.project.read_records(Run, "task", task)
    return runs[-1] if runs else None


def _is_run_alive(ws: Workspace, run: Run) -> bool:
    return is_alive(get_run_folder(ws, run), ws.child_processes.get(run.id))


def _update_state(ws: Workspace, run: Run, alive: bool, heard: float = math.inf) -> None:
    """Update the state of a run that has ended (with or without a final event) or paused.

    Only events up to the byte `heard` are used, because an ended run is not polled again for later events.
    """
    if ws.project.get_record(Run, run.id).state is not RunState.RUNNING:
        return
    if not alive:
        remove_unfinished_files(get_run_folder(ws, run))  # of a process that was killed
    match find_final_event(get_run_folder(ws, run), heard):
        case Finished(cancelled=cancelled):
            record_unread_corrections(ws, run)
            ws.project.set_run_state(run, RunState.CANCELLED if cancelled else RunState.FINISHED)
        case Failed():
            ws.project.set_run_state(run, RunState.FAILED)
        case Paused() if not alive:
            ws.project.set_run_state(run, RunState.PAUSED)
        case None if not alive:
            if is_cancelled(get_run_folder(ws, run)):
                end_at_server(get_run_folder(ws, run), ws.registry.user_dir, "cancel")
            ws.project.set_run_state(run, RunState.FAILED)


def _make_missing_failure(ws: Workspace, run: Run) -> list[Event]:
    if ws.project.get_record(Run, run.id).state is not RunState.FAILED or isinstance(
        find_final_event(get_run_folder(ws, run)), Finished | Failed
    ):
        return []
    reason = read_log_tail(get_run_folder(ws, run))
    return [Failed(f"the training process ended without a result: {reason}. Resume the run, or train again.")]


NICENESS = 10


def start_training(run_dir: Path, since: float | None = None) -> subprocess.Popen[bytes]:
    """Start the process that trains a run folder.

    Parameters
    ----------
    run_dir
        Folder with recipe and snapshot.
    since
        `time.time()` when the user asked for the run: its time budget counts from then. `None`: now.

    Raises
    ------
    OSError
        If the process cannot be started.
    MedSegError
        If another process trains in the folder.
    """
    ensure_no_trainer(run_dir)
    asked = repr(time.time() if since is None else since)
    python = [sys.executable, "-P", "-X", "utf8"]  # what it prints is in the log, which is UTF-8
    told = ["--since", asked, *make_memory_arguments()]
    if is_remote(run_dir):  # the server trains; this process makes the folder look as if it trained here
        return start_detached([*python, "-m", MIRROR, str(run_dir.absolute())], run_dir)
    if not can_compute():
        raise MedSegError(explain_no_computing("train"))
    return start_detached([*python, "-m", "training", str(run_dir.absolute()), *told], run_dir)


def start_detached(command: Sequence[str], run_dir: Path) -> subprocess.Popen[bytes]:
    """Start a command that outlives this process, at low priority, with its output in `log.txt`.

    Raises
    ------
    OSError
        If the command cannot be started.
    """
    with (run_dir / LOG_FILE).open("ab") as log:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            flags |= subprocess.BELOW_NORMAL_PRIORITY_CLASS
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run_dir, creationflags=flags
            )
        else:
            nice = ["nice", "-n", str(NICENESS)] if shutil.which("nice") else []
            process = subprocess.Popen(
                [*nice, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=run_dir, start_new_session=True
            )
    atomic_write_text(
        run_dir / PROCESS_FILE, json.dumps({"pid": process.pid, "started": psutil.Process(process.pid).create_time()})
    )
    return process


def is_alive(run_dir: Path, child: subprocess.Popen[bytes] | None) -> bool:
    """Whether the process of a run is alive, either our child or a process started by an earlier window.

    The lock of the trainer decides. Only for a process that has not taken it yet, its id is compared.
    """
    if (child is not None and child.poll() is None) or has_trainer(run_dir):
        return True
    return child is None and find_process(run_dir) is not None


def find_process(run_dir: Path) -> psutil.Process | None:
    """Return the living process of a run by the id that it left in the folder, whoever started it."""
    path = run_dir / PROCESS_FILE
    if not path.exists():
        return None
    try:
        known = parse_json(read_file(path))
        process = psutil.Process(known["pid"])
        # The process id may have been reused by another process. The start time changes if the clock is set.
        same = abs(process.create_time() - known["started"]) < 1.0 or str(run_dir.absolute()) in process.cmdline()
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError, ValueError, LookupError, TypeError):  # no such process, or a damaged file
        return None
