"""A run that is paused: the window says where it stands, goes on with it or gives it up, also after a restart."""

import json
import time
from collections.abc import Callable

import pytest
from plugin_phantoms import RunFolder, Texts
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow import retrain
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import PAUSE_FILE, EpochEnded, Failed, Paused, Started

MakeDock = Callable[[Workspace], Dock]
BEGAN = Started(4, 16, 1, 3, "cpu", 90.0, 0.0)


def epoch(number: int, seconds: float = 0.0) -> EpochEnded:
    return EpochEnded(number, 20, 0.5 / number, 0.7, True, seconds, 40.0)


def pause_at(run: RunFolder, number: int) -> None:
    run.say(BEGAN, *(epoch(n + 1) for n in range(number)), Paused(number, 10 * number + 3, 12.0))
    run.die()


def test_pause_ends_the_process_and_continue_is_offered(ws: Workspace, make_dock: MakeDock, qtbot: QtBot) -> None:
    run = RunFolder(ws)
    run.say(BEGAN, epoch(1))
    dock = make_dock(ws)
    progress = dock.retrain_panel.progress
    assert progress.pause_button.isVisible()
    assert not progress.continue_button.isVisible()
    progress.pause_button.click()
    assert (run.folder / PAUSE_FILE).exists()
    assert progress.status_label.text().startswith("pausing")
    assert not progress.pause_button.isEnabled()
    run.say(epoch(2), Paused(2, 23, 12.0))
    qtbot.waitUntil(lambda: len(progress.curve.epochs) == 2)
    assert dock.run_monitor.is_running, "its process has not ended yet"
    assert progress.status_label.text().startswith("pausing")
    run.die()
    qtbot.waitUntil(lambda: not dock.run_monitor.is_running)
    assert ws.project.get_record(Run, run.run.id).state is RunState.PAUSED
    assert progress.halted_label.text() == "Paused at epoch 2; press Continue to resume."
    assert progress.continue_button.isVisible()
    assert not progress.pause_button.isVisible()


def test_a_wish_that_a_starting_process_forgets_is_repeated(ws: Workspace, make_dock: MakeDock, qtbot: QtBot) -> None:
    run = RunFolder(ws)
    dock = make_dock(ws)
    dock.retrain_panel.progress.pause_button.click()
    (run.folder / PAUSE_FILE).unlink()
    qtbot.waitUntil((run.folder / PAUSE_FILE).exists)
    assert dock.retrain_panel.progress.status_label.text().startswith("pausing")
    assert dock.run_monitor.is_running
    run.say(BEGAN, epoch(1), Paused(1, 13, 12.0))
    run.die()
    qtbot.waitUntil(lambda: not dock.run_monitor.is_running)
    assert ws.project.get_record(Run, run.run.id).state is RunState.PAUSED
    assert dock.retrain_panel.progress.halted_label.text() == "Paused at epoch 1; press Continue to resume."


def test_a_paused_run_is_offered_after_a_restart_and_stands_in_the_way_of_another(
    ws: Workspace, make_dock: MakeDock, told: Texts
) -> None:
    pause_at(RunFolder(ws), 12)
    dock = make_dock(ws)
    assert not dock.run_monitor.is_running
    assert dock.retrain_panel.progress.halted_label.text() == "Paused at epoch 12; press Continue to resume."
    assert len(dock.retrain_panel.progress.curve.epochs) == 12
    assert not dock.retrain_panel._retrain.isEnabled()
    assert dock.retrain_panel._retrain.toolTip() == "A run is paused: continue or discard it first"
    with pytest.raises(MedSegError, match="is paused"):
        retrain.start_run(ws, "lungs")
    assert not list(told), "a pause is no failure"


def test_continue_starts_the_same_command_and_failure_is_said(
    ws: Workspace, make_dock: MakeDock, qtbot: QtBot, told: Texts
) -> None:
    run = RunFolder(ws)
    pause_at(run, 3)
    dock = make_dock(ws)
    dock.retrain_panel.progress.continue_button.click()
    assert dock.run_monitor.is_running
    assert dock.retrain_panel.progress.cancel_button.isVisible()
    assert len(dock.retrain_panel.progress.curve.epochs) == 3, "the curve goes on where it was"
    pid = json.loads((run.folder / "process.json").read_text())["pid"]
    assert pid == ws.child_processes[run.run.id].pid, "a process of its own, not the one of before"
    qtbot.waitUntil(lambda: not dock.run_monitor.is_running, timeout=60_000)  # the phantom's folder holds no recipe
    assert ws.project.get_record(Run, run.run.id).state is RunState.FAILED
    assert "recipe.json" in told
    assert not dock.retrain_panel.progress.continue_button.isVisible()


def test_a_paused_run_is_discarded_after_a_question(ws: Workspace, make_dock: MakeDock) -> None:
    run = RunFolder(ws)
    pause_at(run, 3)
    dock = make_dock(ws)
    progress = dock.retrain_panel.progress
    progress.discard_button.click()
    assert progress.prompt.text == "Discard the training up to epoch 3?"
    assert not progress.continue_button.isVisible(), "one thing at a time"
    progress.prompt.press_answer("Keep it")
    assert progress.continue_button.isVisible()
    assert ws.project.get_record(Run, run.run.id).state is RunState.PAUSED
    progress.discard_button.click()
    progress.prompt.press_answer("Discard")
    assert ws.project.get_record(Run, run.run.id).state is RunState.DISCARDED
    assert dock.retrain_panel._hint_page.isVisible()
    assert "paused" not in dock.retrain_panel._retrain.toolTip()


def test_an_interrupted_run_can_go_on_too(ws: Workspace, make_dock: MakeDock, told: Texts) -> None:
    run = RunFolder(ws)
    run.say(BEGAN, epoch(1))
    run.die()
    dock = make_dock(ws)
    assert dock.retrain_panel.progress.halted_label.text() == "Interrupted at epoch 1; press Continue to resume."
    assert "Resume the run, or train again" in told
    assert dock.retrain_panel.progress.continue_button.isVisible()


def test_what_failed_with_a_word_cannot_go_on(ws: Workspace, make_dock: MakeDock) -> None:
    run = RunFolder(ws)
    dock = make_dock(ws)
    run.say(Failed("no image could be read"))
    run.die()
    dock.run_monitor.poll()
    assert not dock.retrain_panel.progress.continue_button.isVisible()


def test_a_paused_run_of_another_task_is_named(ws: Workspace, make_dock: MakeDock, told: Texts) -> None:
    run = RunFolder(ws, task="covid")
    pause_at(run, 1)
    dock = make_dock(ws)
    assert "A training run for COVID-19 lesions (CT) is paused." in told
    dock.worklist.choose_task("covid")
    assert dock.retrain_panel.progress.continue_button.isVisible()


def test_seconds_left_count_from_where_it_stood(ws: Workspace, make_dock: MakeDock) -> None:
    run = RunFolder(ws)
    run.say(BEGAN, epoch(1, 10.0), Paused(1, 13, 30.0), Started(4, 16, 1, 3, "cpu", 90.0, time.time()))
    panel = make_dock(ws).retrain_panel
    left_s = int(panel.progress.status_label.text().split()[0])
    assert 50 <= left_s <= 60
    assert panel._status.text() == f"{left_s} s left, training", "the header has no room for the phase"
    assert panel._status.toolTip().endswith("4 corrections, 16 replayed")
