"""Run a training on folders: train in a separate process, evaluate, and print how to use the model."""

from pathlib import Path

from rich.console import Console

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.train.run_console import exit_paused, follow_run
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow.run_control import read_events_after, start_training
from napari_medseg.workflow.run_outcome import read_log_tail
from training.run_folder import (
    CANCEL_FILE,
    EVALUATION_REPORT_FILE,
    REPORT_FILE,
    Event,
    Failed,
    Paused,
    get_events_offset,
)


def train_folder_run(
    run_dir: Path, budget_s: float | None, console: Console, since: float | None = None, *, as_json: bool
) -> None:
    """Train a prepared run folder, or resume it, and evaluate the model.

    The training runs in a separate process, so that Ctrl-C can stop it and keep the best model so far. `since` is as in
    `run_control.start_training`.

    Raises
    ------
    MedSegError
        If the run fails.
    """
    begin = get_events_offset(run_dir)
    process = start_training(run_dir, since)

    def poll(offset: int) -> tuple[list[Event], int]:
        alive = process.poll() is None  # asked before reading, so that its last event is read
        events, offset = read_events_after(run_dir, max(offset, begin), alive=alive)
        if not alive and not events:
            events = [Failed(f"the training process ended without a result: {read_log_tail(run_dir)}. Train again.")]
        return events, offset

    last = follow_run(poll, lambda: (run_dir / CANCEL_FILE).touch(), console, budget_s)
    process.wait()
    if isinstance(last, Paused):
        exit_paused(last, f"medseg train resume {run_dir.absolute()}", run_dir, as_json=as_json)
    evaluate_and_echo(run_dir, as_json=as_json)


def evaluate_and_echo(run_dir: Path, *, as_json: bool) -> None:
    """Evaluate a finished run on its held-out images; print the scores and how to use the model."""
    from training.from_folders.folder_run import evaluate_folder_run

    card, folder = evaluate_folder_run(run_dir), run_dir.absolute()
    add = f"medseg models add {folder} --promote"
    if card.task in TASKS:
        add += ' --reason "trained on my own images"'
    pages = [str(folder / page) for page in (REPORT_FILE, EVALUATION_REPORT_FILE) if (folder / page).exists()]
    if as_json:
        scores = [score.model_dump() for score in card.hold_out]
        files = {"folder": str(folder), "reports": pages}
        echo_json({"model": card.id, "task": card.task, "hold_out": scores, "use": add, **files})
        return
    _echo_scores(card)
    echo(f"version: {folder / WEIGHTS_FILE}")
    echo(f"card:    {folder / CARD_FILE}")
    echo(f"report:  {', '.join(pages)}")
    echo(f"To use it in the window: {add}")


def _echo_scores(card: ModelCard) -> None:
    for score in card.hold_out:
        echo(f"{score.metric} on {score.dataset}: {score.mean:.4f}, worst {score.worst:.4f}, {score.n_images} images")
        for label, value in score.per_label.items():
            echo(f"  {label}: {value:.4f}")
        if score.per_label:
            for label in score.does_not_occur:
                echo(f"  {label}: does not occur")
    if not card.hold_out:
        echo(
            "The model has no scores: no image was held out, or none of these has a label. "
            "Give images of more patients, slides or videos."
        )
