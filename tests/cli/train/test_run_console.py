"""A run that is followed in the terminal: Ctrl+C ends it and keeps its best model, and no thread is needed."""

import io
import threading

import pytest
from rich.console import Console

from napari_medseg.cli.train import run_console
from napari_medseg.core.errors import MedSegError
from training.run_folder import EpochEnded, Event, Failed, Finished, Started

STARTED = Started(3, 0, 1, 1, "cpu", 60.0, 0.0)
EPOCH = EpochEnded(1, 9, 0.5, 0.8, best=True, seconds=2.0, seconds_left=20.0)
FINISHED = Finished(1, 0.8, cancelled=True, seconds=3.0)


def follow(events: list[Event | type[BaseException]], monkeypatch: pytest.MonkeyPatch) -> tuple[object, int, str]:
    """Follow a run; an exception in place of an event comes while the run is asked for events."""
    monkeypatch.setattr(run_console, "POLL_S", 0.0)
    n_cancelled, waiting, console = 0, list(events), Console(file=io.StringIO(), width=120)

    def poll(offset: int) -> tuple[list[Event], int]:
        one = waiting.pop(0)
        if isinstance(one, type):
            raise one
        return [one], offset + 1

    def cancel() -> None:
        nonlocal n_cancelled
        n_cancelled += 1

    last = run_console.follow_run(poll, cancel, console, 60.0)
    assert isinstance(console.file, io.StringIO)
    return last, n_cancelled, console.file.getvalue()


def test_ctrl_c_ends_the_run_and_keeps_its_best_model(monkeypatch: pytest.MonkeyPatch) -> None:
    last, n_cancelled, told = follow([STARTED, EPOCH, KeyboardInterrupt, FINISHED], monkeypatch)
    assert (last, n_cancelled) == (FINISHED, 1)
    assert "stopping; the best model so far is kept" in told


def test_an_impatient_second_ctrl_c_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    last, n_cancelled, _ = follow([KeyboardInterrupt, KeyboardInterrupt, EPOCH, FINISHED], monkeypatch)
    assert (last, n_cancelled) == (FINISHED, 2)


def test_it_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert follow([STARTED, EPOCH, FINISHED], monkeypatch)[0] == FINISHED
    with pytest.raises(MedSegError, match="out of memory"):
        follow([STARTED, Failed("out of memory")], monkeypatch)
