"""A run between its start and its end: paused, taken up again, given up."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workflow_phantoms import QUICK, accepted, real_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Run, RunState
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.run_control import start_detached
from napari_medseg.workflow.workspace import Workspace
from training.__main__ import run as train
from training.run_folder import (
    CHECKPOINT_FILE,
    PROCESS_FILE,
    EpochEnded,
    Event,
    Failed,
    Finished,
    Paused,
    append_event,
    get_events_offset,
    pause_on_signals,
)

Reopen = Callable[[], Workspace]
TRAINER = (
    "import sys; from pathlib import Path; from training.run_folder import hold_trainer_lock\n"
    "with hold_trainer_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@contextmanager
def a_process_trains(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process holds the lock of a run folder; no child of the window."""
    command = [sys.executable, "-c", TRAINER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            yield other
        finally:
            other.kill()


def dead_run(ws: Workspace, *said: Event) -> Run:
    """A run whose process has said this and is gone."""
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir()
    start_detached([sys.executable, "-c", "import sys; sys.stderr.write('killed\\n')"], folder).wait()
    for event in said:
        append_event(folder, event)
    return ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, "2025"))


def until(ws: Workspace, run: Run, kind: type[Event], offset: int = 0) -> tuple[list[Event], int]:
    """Follow until something of that kind is said."""
    events: list[Event] = []
    began = time.monotonic()
    while not any(isinstance(event, kind) for event in events):
        assert time.monotonic() - began < 240, events
        time.sleep(0.1)
        said, offset = run_control.poll_run(ws, run, offset)
        events += said
    return events, offset


def test_a_pause_that_nobody_saw_is_written_down_by_the_next_window(open_workspace: Reopen) -> None:
    dead_run(open_workspace(), EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0), Paused(1, 13, 6.0))
    ws = open_workspace()
    assert run_control.find_running_run(ws) is None
    waiting = run_control.find_paused_run(ws, "lungs")
    assert waiting is not None
    assert (waiting.id, waiting.state) == ("r1", RunState.PAUSED)
    assert run_control.find_paused_run(ws, "covid") is None
    assert [type(event) for event in run_control.poll_run(ws, waiting)[0]] == [EpochEnded, Paused], "and no failure"
    with pytest.raises(MedSegError, match="no candidate"):
        retrain.promote(ws, waiting)


def test_a_last_word_between_two_looks_is_heard_before_the_run_counts_as_ended(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dead_run(ws, EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0))
    monkeypatch.setattr(run_control, "is_alive", lambda *of: True)  # it dies a moment after this question
    read = run_control.read_events_after

    def read_then_fail(folder: Path, offset: int, *, alive: bool) -> tuple[list[Event], int]:
        said = read(folder, offset, alive=alive)
        append_event(folder, Failed("no recipe.json"))
        return said

    with monkeypatch.context() as between:
        between.setattr(run_control, "read_events_after", read_then_fail)
        events, offset = run_control.poll_run(ws, run)
    assert [type(event) for event in events] == [EpochEnded]
    assert ws.project.get_record(Run, "r1").state is RunState.RUNNING
    assert run_control.poll_run(ws, run, offset)[0] == [Failed("no recipe.json")]
    assert ws.project.get_record(Run, "r1").state is RunState.FAILED


def test_another_run_of_the_task_waits_until_it_is_decided_on(ws: Workspace) -> None:
    run = dead_run(ws, Paused(1, 13, 6.0))
    accepted(ws, 0)
    with pytest.raises(MedSegError, match="the run r1 is paused"):
        retrain.start_run(ws, "lungs")
    run_control.discard(ws, run)
    assert ws.project.get_record(Run, "r1").state is RunState.DISCARDED
    for act in (run_control.discard, run_control.resume):
        with pytest.raises(MedSegError, match="neither paused nor interrupted"):
            act(ws, run)


def test_what_a_discarded_run_saw_is_not_counted_as_learnt(ws: Workspace) -> None:
    accepted(ws, 0)
    run = dead_run(ws, Paused(1, 13, 6.0))
    ws.project.add_run_items([RunItem("r1", 1, "patient 0", Role.TRAIN)])
    assert len(ws.project.read_run_items()) == 1
    run_control.find_running_run(ws)
    run_control.discard(ws, run)
    assert ws.project.read_run_items() == []


def test_a_process_that_dies_at_once_is_not_taken_for_a_paused_one(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = dead_run(ws, Paused(1, 13, 6.0))
    run_control.find_running_run(ws)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    run_control.resume(ws, run)
    events, _ = until(ws, run, Failed)
    assert "ended without a result" in events[-1].message
    assert ws.project.get_record(Run, "r1").state is RunState.FAILED
    assert run_control.can_resume(ws, run), "its checkpoint is still there"


def test_a_living_run_is_not_dead_after_a_step_of_the_clock(ws: Workspace) -> None:
    run = dead_run(ws, EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0))
    folder = run_control.get_run_folder(ws, run)
    with a_process_trains(folder) as trainer:
        # The start time that the system reports moves with the clock: it is an hour away from the one written down.
        (folder / PROCESS_FILE).write_text(json.dumps({"pid": trainer.pid, "started": time.time() - 3600}))
        running = run_control.find_running_run(ws)
        assert running is not None
        assert running.state is RunState.RUNNING
        assert [type(event) for event in run_control.poll_run(ws, run)[0]] == [EpochEnded]
        trainer.kill()
        trainer.wait()
        assert run_control.find_running_run(ws) is None
        assert run_control.can_resume(ws, run), "it died, and its lock with it"


@pytest.mark.parametrize("last", [EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0), Paused(1, 13, 6.0)])
def test_a_run_with_a_living_trainer_is_never_started_twice(ws: Workspace, last: Event) -> None:
    run = dead_run(ws, last)
    run_control.find_running_run(ws)  # its state is failed or paused now
    folder = run_control.get_run_folder(ws, run)
    with a_process_trains(folder):
        said = get_events_offset(folder)
        assert not run_control.can_resume(ws, run)
        with pytest.raises(MedSegError, match="still under way in another process"):
            run_control.resume(ws, run)
        with pytest.raises(MedSegError, match="still under way in another process"):
            run_control.start_training(folder)
        with pytest.raises(MedSegError):
            run_control.discard(ws, run)
        assert get_events_offset(folder) == said
        if not isinstance(last, Paused):
            running = run_control.find_running_run(ws)
            assert running is not None, "the window follows it again"
            assert running.id == run.id
    assert ws.project.get_record(Run, "r1").state in (RunState.PAUSED, RunState.RUNNING)


def test_a_run_that_failed_on_a_full_disk_goes_on_from_its_checkpoint(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Failed("the disk is full")
    run = dead_run(ws, EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0), full)
    folder = run_control.get_run_folder(ws, run)
    assert run_control.poll_run(ws, run)[0][-1] == full
    assert not run_control.can_resume(ws, run), "without a checkpoint there is nothing to continue"
    (folder / CHECKPOINT_FILE).touch()
    assert run_control.can_resume(ws, run)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    again = run_control.resume(ws, run)
    events, _ = until(ws, again, Failed)
    assert full not in events, "the failure of before is no news"
    assert "ended without a result" in events[-1].message
    append_event(folder, Finished(3, 0.9, False, 10.0))
    ws.project.set_run_state(run, RunState.RUNNING)
    assert run_control.find_running_run(ws) is None
    assert ws.project.get_record(Run, "r1").state is RunState.FINISHED


def test_the_unfinished_files_of_a_killed_run_are_removed_when_it_is_gone(ws: Workspace) -> None:
    run = dead_run(ws, EpochEnded(1, 9, 0.5, 0.7, True, 5.0, 9.0))
    left = run_control.get_run_folder(ws, run) / ".writing-0123abcd-checkpoint.safetensors"
    with a_process_trains(left.parent):
        left.touch()
        run_control.find_running_run(ws)
        assert left.exists(), "a living trainer may be writing it"
    run_control.find_running_run(ws)
    assert not left.exists()


def test_a_trainer_before_its_lock_is_known_by_its_folder(tmp_path: Path) -> None:
    process = start_detached([sys.executable, "-c", "pass", str(tmp_path)], tmp_path)
    process.wait()
    assert not run_control.is_alive(tmp_path, None)
    process = start_detached([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)], tmp_path)
    try:
        known = json.loads((tmp_path / PROCESS_FILE).read_text())
        (tmp_path / PROCESS_FILE).write_text(json.dumps(known | {"started": known["started"] - 3600}))
        assert run_control.is_alive(tmp_path, None)
    finally:
        process.kill()
        process.wait()
    assert not run_control.is_alive(tmp_path, None)


def test_a_real_run_pauses_and_goes_on_after_its_project_was_moved(
    open_workspace: Callable[..., Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ws = open_workspace()
    real_version(tmp_path / "bundled" / "lungs-unet" / "1")
    for number in range(3):
        accepted(ws, number)
    run = retrain.start_run(ws, "lungs", budget_s=600.0, changes=QUICK)
    _, offset = until(ws, run, EpochEnded)
    with pytest.raises(MedSegError, match="neither paused nor interrupted"):
        run_control.resume(ws, run)
    run_control.pause(ws, run)
    events, offset = until(ws, run, Paused, offset)
    (stood,) = (event for event in events if isinstance(event, Paused))
    assert ws.child_processes[run.id].returncode == 3
    assert ws.project.get_record(Run, run.id).state is RunState.PAUSED

    ws.close()
    (tmp_path / "project").rename(tmp_path / "another disk")
    ws = open_workspace("another disk")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", shutil.which("true"))  # its process ends at once; it is trained here
        again = run_control.resume(ws, run_control.find_paused_run(ws))
        ws.child_processes[run.id].wait()
    assert again.id == run.id
    folder = run_control.get_run_folder(ws, run)
    with pause_on_signals(folder):  # forgets the pause, as the process of a run does
        for event in train(folder, time.monotonic()):
            append_event(folder, event)
            if isinstance(event, EpochEnded):
                assert event.epoch == stood.epoch + 1
                run_control.cancel(ws, again)
    events, _ = until(ws, again, Finished, offset)
    assert sum(isinstance(event, EpochEnded) for event in events) == 1
    assert ws.project.get_record(Run, run.id).state is RunState.CANCELLED
    assert retrain.keep_old(ws, again).id == "lungs-unet@2"
