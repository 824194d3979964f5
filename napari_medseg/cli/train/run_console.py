"""Show the progress of a training run in the terminal until it ends."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.core.errors import MedSegError
from training.run_folder import EXIT_PAUSED, EpochEnded, Event, Failed, Finished, Notice, Paused, Started

POLL_S = 0.3

Poll = Callable[[int], tuple[list[Event], int]]
"""Takes the offset of the last call; returns the events since then, and the offset for the next call."""


def follow_run(poll: Poll, cancel: Callable[[], None], console: Console, budget_s: float | None) -> Finished | Paused:
    """Show a run until it ends or is paused; Ctrl-C stops it and keeps its best model.

    Returns
    -------
    Finished or Paused
        Its last event.

    Raises
    ------
    MedSegError
        If it fails.
    """
    # Without a thread of its own: where the system allows no more of them, the run would go on unseen.
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, auto_refresh=False
    )
    shown = bar.add_task("reading", total=budget_s)
    offset, began = 0, time.monotonic()
    with bar:
        while True:
            try:
                events, offset = poll(offset)
                for event in events:
                    if isinstance(event, Failed):
                        raise MedSegError(event.message)
                    if isinstance(event, Finished):
                        bar.update(shown, completed=budget_s, description=f"best Dice {event.val_dice:.4f}")
                        return event
                    _show(event, bar, console)
                if events and isinstance(events[-1], Paused):
                    return events[-1]
                if budget_s is not None:
                    bar.update(shown, completed=min(time.monotonic() - began, budget_s))
                bar.refresh()
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                cancel()
                console.print("stopping; the best model so far is kept")


def _show(event: Event, bar: Progress, console: Console) -> None:
    match event:
        case Started():
            counts = f"{event.n_train} for training, {event.n_replay} replayed, {event.n_hold_out} held out"
            console.print(f"{counts}, on {event.device}")
        case EpochEnded():
            text = f"epoch {event.epoch} of {event.n_epochs}  loss {event.train_loss:.3f}  Dice {event.val_dice:.4f}"
            bar.update(bar.task_ids[0], description=text)
        case Notice():
            console.print(event.text)


def exit_paused(paused: Paused, resume_command: str, run_dir: Path, *, as_json: bool) -> NoReturn:
    """Print the position of a paused run and how to resume it, and end the command with `EXIT_PAUSED`."""
    folder = str(run_dir.absolute())
    if as_json:
        position = {"state": "paused", "epoch": paused.epoch, "step": paused.step, "folder": folder}
        echo_json(position | {"continue": resume_command})
    else:
        echo(f"The run is paused after epoch {paused.epoch}, at step {paused.step}: {folder}")
        echo(f"To resume it, with the same result: {resume_command}")
    raise typer.Exit(EXIT_PAUSED)
