"""`python -P -m training RUN_DIR`: train in a separate process; all input and output is in the run folder.

`PYTHONSAFEPATH=1 torchrun --nproc-per-node N -m training RUN_DIR` trains on N GPUs, or in N processes without any.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medseg.core.errors import MedSegError, translate_errors
from training.recipe import read_recipe
from training.run_folder import (
    EXIT_PAUSED,
    LOG_FILE,
    RECIPE_FILE,
    Event,
    Failed,
    Finished,
    Notice,
    Paused,
    Started,
    append_event,
    is_paused,
    pause_on_signals,
    read_events,
)

if TYPE_CHECKING:
    from training.distributed import RankContext
    from training.run_setup import TrainingSetup

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the folder named on the command line, alone or as one of `torchrun`'s processes.

    Returns
    -------
    int
        0 if the run ended with a model, 1 if it failed, 2 without a folder, 3 if it was paused. The same command
        resumes a paused run.
    """
    started = time.monotonic()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) != 1 or not Path(words[0]).is_dir():
        sys.stderr.write("usage: python -P -m training RUN_DIR\nRUN_DIR holds recipe.json and snapshot.json.\n")
        return 2
    run_dir = Path(words[0]).absolute()
    logging.raiseExceptions = False  # a log on a full disk must not fill stderr with tracebacks
    try:
        with translate_errors():
            if any(isinstance(event, Finished) for event, _ in read_events(run_dir)):
                logger.info("the run is already finished")
                return 0
            with pause_on_signals(run_dir):
                return _run_and_log(run_dir, started)
    except MedSegError as error:  # the run folder itself cannot be read or written
        sys.stderr.write(f"training: {error}\n")
        return 1


def run(run_dir: Path, started: float, rank_context: "RankContext | None" = None) -> Iterator[Event]:
    """Train a run folder, from the beginning or from its checkpoint.

    Parameters
    ----------
    run_dir
        Folder with `recipe.json` and `snapshot.json`; for the first model of a task also with `start.json`.
    started
        `time.monotonic()` at the start of the process, so that importing torch counts against the budget.
    rank_context
        The processes that train together; by default only this process.

    Raises
    ------
    MedSegError
        If the folder is incomplete, the hold-out leaks into the training set, or there are no training images.
    """
    from training.distributed import RankContext
    from training.evaluation.tensorboard import record_events
    from training.run_setup import read_setup
    from training.start_builder import ensure_start_version

    rank_context = rank_context or RankContext()
    seed = read_recipe(run_dir / RECIPE_FILE).run.seed
    began_with = ensure_start_version(run_dir, seed) if rank_context.is_main else ""
    rank_context.wait()
    setup = read_setup(run_dir, started, rank_context)
    events = _generate_events(setup, began_with)
    yield from record_events(events, run_dir) if setup.recipe.run.tensorboard and setup.rank_context.is_main else events


def _generate_events(setup: "TrainingSetup", began_with: str) -> Iterator[Event]:
    from training.evaluation.hold_out_comparison import finish_run, score_base
    from training.evaluation.provenance import write_provenance
    from training.loop import train
    from training.run_control import resume

    yield Started(
        n_train=len(setup.batches.train),
        n_replay=len(setup.batches.replay),
        n_validate=len(setup.split.validate),
        n_hold_out=len(setup.split.hold_out),
        device=str(setup.learner.device),
        budget_s=setup.recipe.run.budget_s,
        time=time.time(),
    )
    control = resume(setup)
    progress = control.progress
    if began_with and not progress.step:
        yield Notice(began_with)
    if progress.step:
        yield Notice(f"the run resumes after epoch {progress.epoch}, step {progress.step}")
    if not setup.rank_context.is_main:  # other processes only train
        yield from train(control)
        return
    write_provenance(setup)
    old = score_base(setup)
    if setup.split.notice:
        yield Notice(setup.split.notice)
    if len(old) < len(setup.split.hold_out):
        yield Notice(
            f"within the time budget, {len(old)} of {len(setup.split.hold_out)} hold-out cases can be compared"
        )
    yield from train(control)
    if is_paused(setup.run_dir) or not (yield from finish_run(setup, progress, old)):
        yield Paused(progress.epoch, progress.step, setup.time_budget.elapsed_s())


def _run_and_log(run_dir: Path, started: float) -> int:
    """Run a folder and write its events and log; with several processes only the first one writes."""
    from training.distributed import join_process_group

    last: Event | None = None
    with join_process_group() as team:
        if team.is_main:
            logging.basicConfig(filename=run_dir / LOG_FILE, level=logging.INFO, format=LOG_FORMAT)
        try:
            with translate_errors():
                for last in run(run_dir, started, team):
                    _record_event(run_dir, team, last)
        except MedSegError as error:
            _record_failure(run_dir, team, str(error))
            return 1
        except Exception as error:
            _record_failure(run_dir, team, f"{type(error).__name__}: {error}. This is a bug: please report {LOG_FILE}.")
            raise
    return EXIT_PAUSED if isinstance(last, Paused) else 0


def _record_event(run_dir: Path, rank_context: "RankContext", event: Event) -> None:
    if rank_context.is_main:
        logger.info("%s", event)
        append_event(run_dir, event)


def _record_failure(run_dir: Path, rank_context: "RankContext", message: str) -> None:
    """Write the final event; on a full disk to stderr only, so that the reason is not lost."""
    try:
        _record_event(run_dir, rank_context, Failed(message))
    except OSError as error:
        sys.stderr.write(f"training: {message} This could not be written to {run_dir}: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
