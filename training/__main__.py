"""`python -P -m training RUN_DIR`: train in a separate process; all input and output is in the run folder.

The time budget counts from the start of the process. The window and the command line add `--since SECONDS`: it counts
from the moment, in seconds since the Unix epoch, when the user asked for the run. `--max-memory BYTES` is what the
pixels of one image may take, if the user allowed more than usual.

`PYTHONSAFEPATH=1 torchrun --nproc-per-node N -m training RUN_DIR` trains on N GPUs, or in N processes without any.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION, allow_memory
from napari_medseg.core.errors import MedSegError, get_reason, is_out_of_memory, translate_errors
from training.recipe import read_recipe
from training.run_folder import (
    CHECKPOINT_FILE,
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
    hold_trainer_lock,
    is_paused,
    pause_on_signals,
    read_events,
)

if TYPE_CHECKING:
    import torch

    from training.distributed import RankContext
    from training.run_control import RunControl
    from training.run_setup import TrainingSetup

SINCE_OPTION = "--since"
USAGE = f"""usage: python -P -m training RUN_DIR [{SINCE_OPTION} SECONDS] [{MAX_MEMORY_OPTION} BYTES]
RUN_DIR holds recipe.json and snapshot.json. The time budget counts from SECONDS since the Unix epoch. The pixels of one
image may take BYTES of memory.
"""
LATER = "if it is paused and continued, it tries the GPU again"
MAX_START_S = 3600.0
"""A request that is older than this, or in the future, is a wrong clock and does not count."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None, since: float | None = None) -> int:
    """Run the folder named on the command line, alone or as one of `torchrun`'s processes.

    Parameters
    ----------
    arguments
        Words of the command line; `None`: those of this process.
    since
        When the time budget began, in seconds since the Unix epoch, if the command line does not say it. `None`: now.

    Returns
    -------
    int
        0 if the run ended with a model, 1 if it failed or another process trains in the folder, 2 without a folder,
        3 if it was paused. The same command resumes a paused run.
    """
    try:
        run_dir, began_at, max_memory = _read_arguments(list(sys.argv[1:] if arguments is None else arguments))
    except ValueError:
        sys.stderr.write(USAGE)
        return 2
    started = time.monotonic() - _compute_waited_s(since if began_at is None else began_at)
    logging.raiseExceptions = False  # a log on a full disk must not fill stderr with tracebacks
    try:
        with translate_errors(), allow_memory(max_memory), hold_trainer_lock(run_dir):
            if any(isinstance(event, Finished) for event, _ in read_events(run_dir)):
                logger.info("the run is already finished")
                return 0
            with pause_on_signals(run_dir):
                return _run_and_log(run_dir, started)
    except MedSegError as error:  # the folder cannot be read or written, or another process trains there
        sys.stderr.write(f"training: {error}\n")
        return 1


def run(run_dir: Path, started: float, rank_context: "RankContext | None" = None) -> Iterator[Event]:
    """Train a run folder, from the beginning or from its checkpoint; if its GPU fails, on the CPU from the checkpoint.

    Parameters
    ----------
    run_dir
        Folder with `recipe.json` and `snapshot.json`; for the first model of a task also with `start.json`.
    started
        `time.monotonic()` when the run was requested, so that the start of the process counts against the budget.
    rank_context
        The processes that train together; by default only this process.

    Raises
    ------
    MedSegError
        If the folder is incomplete, the hold-out leaks into the training set, or there are no training images.
    """
    recipe = read_recipe(run_dir / RECIPE_FILE)  # first: a folder without a recipe fails before the slow imports
    from napari_medseg.inference.compiled_network import FAILURES
    from napari_medseg.inference.device import CPU, can_fall_back, free_cached_memory
    from training.checkpoint import choose_run_device, read_progress
    from training.distributed import RankContext
    from training.start_builder import ensure_start_version

    rank_context = rank_context or RankContext()
    device, notice = choose_run_device(recipe, run_dir) if rank_context.device is None else (rank_context.device, "")
    began_with = ensure_start_version(run_dir, recipe.run.seed) if rank_context.is_main else ""
    rank_context.wait()
    if notice:
        yield Notice(notice)
    carried_s = read_progress(run_dir).elapsed_s
    try:
        yield from _run_on_device(run_dir, started, rank_context, device, began_with)
        return
    except FAILURES as error:
        if rank_context.size > 1 or not can_fall_back(error, device):
            raise
        logger.warning("the run moves from %s to the CPU", device, exc_info=True)
        reason = "has too little memory" if is_out_of_memory(error) else f"failed ({get_reason(error)})"
    free_cached_memory(device)  # here, because the error references the tensors
    saved = read_progress(run_dir)
    yield Notice(f"the GPU {reason}: the run goes on on the CPU from step {saved.step}, more slowly; {LATER}")
    started += saved.elapsed_s - carried_s  # the time since that checkpoint counts as well
    yield from _run_on_device(run_dir, started, rank_context, CPU, began_with)


def _run_on_device(
    run_dir: Path,
    started: float,
    rank_context: "RankContext",
    device: "torch.device",
    began_with: str,
) -> Iterator[Event]:
    """Train a run folder on one device, which checkpoints remember; on another one in parts as the recipe says."""
    from training.reports.tensorboard import record_events
    from training.run_control import resume
    from training.run_setup import read_setup

    setup = read_setup(run_dir, started, rank_context, device)
    yield _make_started(setup)
    control = resume(setup)
    if control.progress.device != str(device):
        control.progress.n_parts = 0
    control.progress.device = str(device)
    events = _generate_events(setup, control, began_with)
    yield from record_events(events, run_dir) if setup.recipe.run.tensorboard and setup.rank_context.is_main else events


def _read_arguments(words: list[str]) -> tuple[Path, float | None, int | None]:
    """Return the run folder, the time of the request and the allowed memory; raise `ValueError` if they are wrong."""
    folder, *rest = words or [""]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    since, max_memory = options.pop(SINCE_OPTION, None), options.pop(MAX_MEMORY_OPTION, None)
    if options or not folder or not Path(folder).is_dir():
        raise ValueError(words)
    return (
        Path(folder).absolute(),
        None if since is None else float(since),
        None if max_memory is None else int(max_memory),
    )


def _compute_waited_s(since: float | None) -> float:
    """Return the seconds from the request to now."""
    waited_s = 0.0 if since is None else time.time() - since
    return waited_s if 0.0 <= waited_s <= MAX_START_S else 0.0


def _make_started(setup: "TrainingSetup") -> Started:
    return Started(
        n_train=len(setup.batches.train),
        n_replay=len(setup.batches.replay),
        n_validate=len(setup.split.validate),
        n_hold_out=len(setup.split.hold_out),
        device=str(setup.learner.device),
        budget_s=setup.recipe.run.budget_s,
        time=time.time() - setup.time_budget.elapsed_s(),
    )


def _generate_events(setup: "TrainingSetup", control: "RunControl", began_with: str) -> Iterator[Event]:
    from training.evaluation.hold_out_comparison import finish_run, score_base
    from training.evaluation.provenance import write_provenance
    from training.loop import train

    progress = control.progress
    if began_with and not progress.step:
        yield Notice(began_with)
    if progress.step:
        yield Notice(f"the run resumes after epoch {progress.epoch}, step {progress.step}")
    if not setup.rank_context.is_main:  # other processes only train
        yield from train(control)
        return
    write_provenance(setup)
    yield from map(Notice, setup.notices)
    old = yield from score_base(setup)
    if setup.split.notice:
        yield Notice(setup.split.notice)
    if len(old.scores) < len(setup.split.hold_out):
        yield Notice(
            f"within the time budget, {len(old.scores)} of {len(setup.split.hold_out)} hold-out cases can be compared"
        )
    if text := _explain_short_budget(setup, is_new=not progress.step):
        yield Notice(text)
    yield from train(control)
    if is_paused(setup.run_dir) or not (yield from finish_run(setup, progress, old)):
        yield Paused(progress.epoch, progress.step, setup.time_budget.elapsed_s())


def _explain_short_budget(setup: "TrainingSetup", *, is_new: bool) -> str:
    """Say that the time budget is too short to train, or will be exceeded; empty if it is long enough."""
    budget = setup.time_budget
    if is_new and budget.remaining_training_s() <= 0:
        return (
            f"the time budget leaves no time to train: {budget.elapsed_s():.0f} s passed before the first step, and "
            f"the evaluation needs about {budget.reserved_s:.0f} s. Give the run more time"
        )
    if budget.overrun_s >= 1.0:
        return (
            f"the evaluation of all {len(setup.split.hold_out)} hold-out images needs more than half of the time "
            f"budget: the run will exceed it by about {budget.overrun_s:.0f} s"
        )
    return ""


def _run_and_log(run_dir: Path, started: float) -> int:
    """Run a folder and write its events and log; with several processes only the first one writes."""
    from training.distributed import join_process_group

    last: Event | None = None
    with join_process_group() as team:
        if team.is_main:
            log_to_file(run_dir / LOG_FILE)
        try:
            with translate_errors():
                for last in run(run_dir, started, team):
                    _record_event(run_dir, team, last)
        except MedSegError as error:
            _record_failure(run_dir, team, f"{error}{_describe_checkpoint(run_dir)}")
            return 1
        except Exception as error:
            _record_failure(run_dir, team, f"{type(error).__name__}: {error}. This is a bug: please report {LOG_FILE}.")
            raise
    return EXIT_PAUSED if isinstance(last, Paused) else 0


def log_to_file(path: Path) -> None:
    """Append the log of this process to a file in UTF-8; bytes of file names that are no text become escapes."""
    logging.basicConfig(
        filename=path, level=logging.INFO, format=LOG_FORMAT, encoding="utf-8", errors="backslashreplace"
    )


def _describe_checkpoint(run_dir: Path) -> str:
    return " Then continue the run: its checkpoint is kept." if (run_dir / CHECKPOINT_FILE).exists() else ""


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
    sys.exit(main(since=psutil.Process().create_time()))
