"""The training loop, visible on one screen: a generator of events, no callbacks."""

import math
import statistics
from collections.abc import Callable, Generator, Iterator
from enum import IntEnum

from training.augmentation.patch_batch import PatchBatch
from training.checkpoint import (
    TrainingProgress,
    load_best,
    load_checkpoint,
    read_progress,
    save_best,
    save_checkpoint,
    save_cycle,
)
from training.data.prefetch import prefetch_batches
from training.lora import merge_lora
from training.model_selection import validate
from training.run_folder import EpochEnded, Event, Notice, is_cancelled, is_paused
from training.run_setup import TrainingSetup
from training.schedule import describe_stage_changes, get_cycle, get_schedule

VALIDATION_RESERVE = 1.5
FINAL_WORK_S = 1.5
"""Time to write weights, card and report."""
MAX_BAD_BATCHES = 3
RATE_DROP_FACTOR = 0.1
MAX_RATE_DROPS = 3
"""So many batches without a finite loss in a row lower the rate to a tenth; so often, then the run ends."""
MIN_CYCLE_SHARE = 0.75

GetBatch = Callable[[int], PatchBatch]


class RunCommand(IntEnum):
    """What a run is told between two steps."""

    CONTINUE = 0
    STOP = 1
    PAUSE = 2


def train(setup: TrainingSetup, progress: TrainingProgress) -> Iterator[Event]:
    """Learn, one stage after the other, until the last one is over or somebody stops it; the best is in the folder.

    Epoch 0 is the version that the run starts from: a run that finds nothing better keeps it.
    """
    if not progress.step:
        progress.training_started_s = setup.time_budget.elapsed_s()
    setup.time_budget.training_started_s = progress.training_started_s
    staged = setup.make_stage_setup(progress.stage)
    load_checkpoint(setup.run_dir, staged.learner)
    while (yield from train_stage(staged, progress)) and progress.stage + 1 < len(setup.recipe.stages):
        staged = _begin_next_stage(setup, staged, progress)
        yield Notice(f"stage {progress.stage + 1} begins: {describe_stage_changes(setup.recipe, progress.stage)}")


def train_stage(setup: TrainingSetup, progress: TrainingProgress) -> Generator[Event, None, bool]:
    """Learn until the epochs, the time or the patience of a stage end; return whether the run may go on behind it."""
    device = setup.learner.device
    with prefetch_batches(lambda step: setup.batches.sample_batch(step).to(device), device) as drawn_of:
        yield from _train_epochs(setup, progress, drawn_of)
    _save_cycle_weights(setup, progress, compute_stage_progress(setup, progress), MIN_CYCLE_SHARE)
    if (word := get_run_command(setup)) is RunCommand.PAUSE:
        _save_progress(setup, progress)
    return word is RunCommand.CONTINUE and not _has_diverged(progress)


def _train_epochs(setup: TrainingSetup, progress: TrainingProgress, get_batch: GetBatch) -> Iterator[Event]:
    recipe, learner, run_dir = setup.recipe, setup.learner, setup.run_dir
    for epoch in range(progress.epoch + 1, progress.stage_epoch + recipe.schedule.n_epochs + 1):
        if _is_stage_over(setup, progress):
            break
        began_s = setup.time_budget.elapsed_s()
        train_loss = yield from train_one_epoch(setup, progress, get_batch)
        if get_run_command(setup) is RunCommand.PAUSE:
            break
        candidate = learner.make_candidate()
        val_dice = setup.rank_context.broadcast(validate(candidate, setup.validation, recipe.run.precision))
        is_wanted = recipe.schedule.keep == "last" and math.isfinite(train_loss)
        if better := is_wanted or val_dice > progress.best_val_dice:
            progress.best_epoch, progress.best_val_dice = epoch, val_dice
            if setup.rank_context.is_main:
                save_best(run_dir, candidate)
        progress.epoch, progress.losses = epoch, []
        _save_progress(setup, progress)
        yield _make_epoch_event(setup, progress, train_loss, (val_dice, better), began_s)


def train_one_epoch(
    setup: TrainingSetup, progress: TrainingProgress, get_batch: GetBatch
) -> Generator[Event, None, float]:
    """Take the steps of one epoch, fewer where time is up; return their mean loss, NaN where none was finite."""
    recipe, learner, batches = setup.recipe, setup.learner, setup.batches
    schedule = get_schedule(recipe.schedule.name, recipe.schedule.n_cycles)
    last_step, word = setup.stage.compute_end_step(progress.epoch + 1 - progress.stage_epoch), get_run_command(setup)
    while progress.step < last_step and word is RunCommand.CONTINUE and not _has_diverged(progress):
        share = compute_stage_progress(setup, progress)
        _save_cycle_weights(setup, progress, share)
        rate_factor = schedule(share) * RATE_DROP_FACTOR**progress.n_lowered
        batch = get_batch(progress.step).make_patches()
        loss = learner.step(batch, progress.step, rate_factor, batches.n_replayed, share)
        progress.step, progress.n_bad = progress.step + 1, 0 if loss is not None else progress.n_bad + 1
        progress.losses.append(loss)
        if progress.n_bad >= MAX_BAD_BATCHES:
            yield _restore_best_and_lower_rate(setup, progress)
        word = get_run_command(setup)
        if _is_checkpoint_due(setup, progress):
            _save_progress(setup, progress)
    finite = [loss for loss in progress.losses if loss is not None]
    if n_bad := len(progress.losses) - len(finite):
        yield Notice(f"{n_bad} of {len(progress.losses)} batches had no finite loss; nothing was learnt from them")
    return statistics.fmean(finite) if finite else float("nan")


def resume(setup: TrainingSetup) -> TrainingProgress:
    """Return where the run stands; at its beginning the version that it starts from is the best so far."""
    clock, recipe = setup.time_budget, setup.recipe
    progress = read_progress(setup.run_dir)
    clock.carried_s = progress.elapsed_s
    clock.reserved_s += FINAL_WORK_S
    if progress.best_val_dice < 0:
        began = clock.elapsed_s()
        parent = setup.learner.parent
        progress.best_val_dice = setup.rank_context.broadcast(validate(parent, setup.validation, recipe.run.precision))
        if setup.rank_context.is_main:
            save_best(setup.run_dir, parent)
        n_validations = 1 if recipe.n_members == 1 else 2 * recipe.n_members + 2  # each cycle, all as one, and together
        clock.reserved_s += VALIDATION_RESERVE * n_validations * (clock.elapsed_s() - began)
    return progress


def get_run_command(setup: TrainingSetup) -> RunCommand:
    """Return whether to take another step: not where that would break the budget, or somebody wants an end."""
    word = RunCommand.CONTINUE
    if is_cancelled(setup.run_dir) or setup.time_budget.remaining_training_s() < setup.learner.last_step_s:
        word = RunCommand.STOP
    elif is_paused(setup.run_dir):
        word = RunCommand.PAUSE
    return RunCommand(int(setup.rank_context.broadcast(word)))


def compute_stage_progress(setup: TrainingSetup, progress: TrainingProgress) -> float:
    """Return the share of the stage that is over, in [0, 1]."""
    return setup.rank_context.broadcast(
        setup.stage.compute_progress(setup.time_budget.compute_progress(progress.step, setup.stage.n_steps))
    )


def _is_stage_over(setup: TrainingSetup, progress: TrainingProgress) -> bool:
    """Whether a stage ends here: told so, out of patience or time, or no longer a number."""
    without_better = progress.epoch - max(progress.best_epoch, progress.stage_epoch)
    if get_run_command(setup) is RunCommand.STOP or compute_stage_progress(setup, progress) >= 1:
        return True
    return without_better >= setup.recipe.schedule.patience or _has_diverged(progress)


def _has_diverged(progress: TrainingProgress) -> bool:
    return progress.n_lowered > MAX_RATE_DROPS


def _restore_best_and_lower_rate(setup: TrainingSetup, progress: TrainingProgress) -> Notice:
    """Go back to the best so far and lower the rate; after too many times the run is lost."""
    progress.n_bad, progress.n_lowered = 0, progress.n_lowered + 1
    if _has_diverged(progress):
        return Notice("the loss is no longer a number: training stopped, the best version so far is kept")
    setup.learner.restart_from(load_best(setup.run_dir))
    return Notice(
        f"{MAX_BAD_BATCHES} batches in a row had no finite loss: back to the best so far, at a tenth of the "
        "learning rate"
    )


def _save_cycle_weights(setup: TrainingSetup, progress: TrainingProgress, share: float, enough: float = 1.0) -> None:
    """Write the weights where a cycle has just ended; or is `enough` of one, at the end of a run."""
    recipe = setup.recipe
    position = share * recipe.schedule.n_cycles - progress.cycle
    is_new = get_cycle(share, recipe.schedule.n_cycles) > progress.cycle
    if not recipe.keeps_cycles or not (is_new or (enough < 1 and enough <= position <= 1 + 1e-6)):
        return
    weights = setup.learner.make_candidate()
    if setup.rank_context.is_main:
        save_cycle(setup.run_dir, setup.stage.number, progress.cycle, weights)
    progress.cycle = get_cycle(share, recipe.schedule.n_cycles)


def _begin_next_stage(setup: TrainingSetup, staged: TrainingSetup, progress: TrainingProgress) -> TrainingSetup:
    """Begin another stage with the best weights so far, or the last ones of the stage before."""
    number = progress.stage + 1
    is_from_best = setup.recipe.resolve_stages()[number].schedule.stage_start == "best"
    weights = load_best(setup.run_dir) if is_from_best else merge_lora(staged.learner.network)
    following = setup.make_stage_setup(number, weights)
    progress.stage, progress.stage_epoch, progress.step = number, progress.epoch, following.stage.first_step
    progress.cycle, progress.n_bad, progress.n_lowered, progress.losses = 0, 0, 0, []
    _save_progress(following, progress)
    return following


def _is_checkpoint_due(setup: TrainingSetup, progress: TrainingProgress) -> bool:
    run = setup.recipe.run
    is_late = setup.time_budget.elapsed_s() - progress.elapsed_s >= run.checkpoint_every_s
    return is_late or bool(run.checkpoint_every_steps and progress.step % run.checkpoint_every_steps == 0)


def _save_progress(setup: TrainingSetup, progress: TrainingProgress) -> None:
    progress.elapsed_s = setup.time_budget.elapsed_s()
    if setup.rank_context.is_main:
        save_checkpoint(setup.run_dir, setup.learner, progress)


def _make_epoch_event(
    setup: TrainingSetup, progress: TrainingProgress, train_loss: float, validated: tuple[float, bool], began_s: float
) -> EpochEnded:
    clock, n_epochs = setup.time_budget, setup.stage.compute_total_epochs(progress.stage_epoch)
    per_epoch_s = clock.elapsed_s() - began_s
    left_s = min(clock.remaining_training_s(), (n_epochs - progress.epoch) * per_epoch_s)
    expected = progress.epoch + int(max(0.0, left_s) / max(per_epoch_s, 1e-6))
    return EpochEnded(
        epoch=progress.epoch,
        n_epochs=min(n_epochs, expected),
        train_loss=train_loss,
        val_dice=validated[0],
        best=validated[1],
        seconds=clock.elapsed_s(),
        seconds_left=max(0.0, left_s) + clock.reserved_s,
        rate=setup.learner.learning_rate,
        stage=progress.stage,
        loss_weights=setup.learner.loss.get_changing_weights(compute_stage_progress(setup, progress)),
    )
