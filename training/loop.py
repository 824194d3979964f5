"""The training loop, visible on one screen: a generator of events, no callbacks."""

import math
import statistics
from collections.abc import Callable, Generator, Iterator
from enum import IntEnum

from training.augmentation.patch_batch import DrawnBatch
from training.checkpoint import (
    Progress,
    load_best,
    load_checkpoint,
    read_progress,
    save_best,
    save_checkpoint,
    save_cycle,
)
from training.data.prefetch import made_ahead
from training.lora import merged_state
from training.model_selection import validate
from training.run_folder import EpochEnded, Event, Notice, is_cancelled, is_paused
from training.run_setup import Setup
from training.schedule import changes_of, cycle_at, schedule_named

VALIDATION_RESERVE = 1.5
FINAL_WORK_S = 1.5
"""Time to write weights, card and report."""
MANY_BAD = 3
RATE_DROP = 0.1
MOST_DROPS = 3
"""So many batches without a finite loss in a row lower the rate to a tenth; so often, then the run ends."""
NEARLY_A_CYCLE = 0.75

DrawnOf = Callable[[int], DrawnBatch]


class Word(IntEnum):
    """What a run is told between two steps."""

    GO_ON = 0
    STOP = 1
    PAUSE = 2


def train(setup: Setup, progress: Progress) -> Iterator[Event]:
    """Learn, one stage after the other, until the last one is over or somebody stops it; the best is in the folder.

    Epoch 0 is the version that the run starts from: a run that finds nothing better keeps it.
    """
    if not progress.step:
        progress.training_started_s = setup.clock.elapsed_s()
    setup.clock.training_started_s = progress.training_started_s
    staged = setup.at_stage(progress.stage)
    load_checkpoint(setup.run_dir, staged.learner)
    while (yield from train_stage(staged, progress)) and progress.stage + 1 < len(setup.recipe.stages):
        staged = _next_stage(setup, staged, progress)
        yield Notice(f"stage {progress.stage + 1} begins: {changes_of(setup.recipe, progress.stage)}")


def train_stage(setup: Setup, progress: Progress) -> Generator[Event, None, bool]:
    """Learn until the epochs, the time or the patience of a stage end; return whether the run may go on behind it."""
    device = setup.learner.device
    with made_ahead(lambda step: setup.batches.drawn(step).to(device), device) as drawn_of:
        yield from _train_epochs(setup, progress, drawn_of)
    _keep_cycle(setup, progress, share_of_stage(setup, progress), NEARLY_A_CYCLE)
    if (word := word_to(setup)) is Word.PAUSE:
        _save(setup, progress)
    return word is Word.GO_ON and not _is_lost(progress)


def _train_epochs(setup: Setup, progress: Progress, drawn_of: DrawnOf) -> Iterator[Event]:
    recipe, learner, run_dir = setup.recipe, setup.learner, setup.run_dir
    for epoch in range(progress.epoch + 1, progress.stage_epoch + recipe.n_epochs + 1):
        if _is_over(setup, progress):
            break
        began_s = setup.clock.elapsed_s()
        train_loss = yield from train_one_epoch(setup, progress, drawn_of)
        if word_to(setup) is Word.PAUSE:
            break
        candidate = learner.candidate()
        val_dice = setup.team.agreed(validate(candidate, setup.validation, recipe.precision))
        is_wanted = recipe.keep == "last" and math.isfinite(train_loss)
        if better := is_wanted or val_dice > progress.best_val_dice:
            progress.best_epoch, progress.best_val_dice = epoch, val_dice
            if setup.team.is_first:
                save_best(run_dir, candidate)
        progress.epoch, progress.losses = epoch, []
        _save(setup, progress)
        yield _epoch_ended(setup, progress, train_loss, (val_dice, better), began_s)


def train_one_epoch(setup: Setup, progress: Progress, drawn_of: DrawnOf) -> Generator[Event, None, float]:
    """Take the steps of one epoch, fewer where time is up; return their mean loss, NaN where none was finite."""
    recipe, learner, batches = setup.recipe, setup.learner, setup.batches
    schedule = schedule_named(recipe.schedule, recipe.n_cycles)
    last_step, word = setup.stage.last_step(progress.epoch + 1 - progress.stage_epoch), word_to(setup)
    while progress.step < last_step and word is Word.GO_ON and not _is_lost(progress):
        share = share_of_stage(setup, progress)
        _keep_cycle(setup, progress, share)
        rate_factor = schedule(share) * RATE_DROP**progress.n_lowered
        batch = drawn_of(progress.step).patches()
        loss = learner.step(batch, progress.step, rate_factor, batches.n_replayed, share)
        progress.step, progress.n_bad = progress.step + 1, 0 if loss is not None else progress.n_bad + 1
        progress.losses.append(loss)
        if progress.n_bad >= MANY_BAD:
            yield _slower(setup, progress)
        word = word_to(setup)
        if _is_checkpoint_due(setup, progress):
            _save(setup, progress)
    finite = [loss for loss in progress.losses if loss is not None]
    if n_bad := len(progress.losses) - len(finite):
        yield Notice(f"{n_bad} of {len(progress.losses)} batches had no finite loss; nothing was learnt from them")
    return statistics.fmean(finite) if finite else float("nan")


def resume(setup: Setup) -> Progress:
    """Return where the run stands; at its beginning the version that it starts from is the best so far."""
    clock, recipe = setup.clock, setup.recipe
    progress = read_progress(setup.run_dir)
    clock.carried_s = progress.elapsed_s
    clock.reserved_s += FINAL_WORK_S
    if progress.best_val_dice < 0:
        began = clock.elapsed_s()
        parent = setup.learner.parent
        progress.best_val_dice = setup.team.agreed(validate(parent, setup.validation, recipe.precision))
        if setup.team.is_first:
            save_best(setup.run_dir, parent)
        n_validations = 1 if recipe.n_members == 1 else 2 * recipe.n_members + 2  # each cycle, all as one, and together
        clock.reserved_s += VALIDATION_RESERVE * n_validations * (clock.elapsed_s() - began)
    return progress


def word_to(setup: Setup) -> Word:
    """Return whether to take another step: not where that would break the budget, or somebody wants an end."""
    word = Word.GO_ON
    if is_cancelled(setup.run_dir) or setup.clock.left_for_training_s() < setup.learner.last_step_s:
        word = Word.STOP
    elif is_paused(setup.run_dir):
        word = Word.PAUSE
    return Word(int(setup.team.agreed(word)))


def share_of_stage(setup: Setup, progress: Progress) -> float:
    """Return the share of the stage that is over, in [0, 1]."""
    return setup.team.agreed(setup.stage.progress(setup.clock.progress(progress.step, setup.stage.n_steps)))


def _is_over(setup: Setup, progress: Progress) -> bool:
    """Whether a stage ends here: told so, out of patience or time, or no longer a number."""
    without_better = progress.epoch - max(progress.best_epoch, progress.stage_epoch)
    if word_to(setup) is Word.STOP or share_of_stage(setup, progress) >= 1:
        return True
    return without_better >= setup.recipe.patience or _is_lost(progress)


def _is_lost(progress: Progress) -> bool:
    return progress.n_lowered > MOST_DROPS


def _slower(setup: Setup, progress: Progress) -> Notice:
    """Go back to the best so far and lower the rate; after too many times the run is lost."""
    progress.n_bad, progress.n_lowered = 0, progress.n_lowered + 1
    if _is_lost(progress):
        return Notice("the loss is no longer a number: training stopped, the best version so far is kept")
    setup.learner.go_on_from(load_best(setup.run_dir))
    return Notice(
        f"{MANY_BAD} batches in a row had no finite loss: back to the best so far, at a tenth of the learning rate"
    )


def _keep_cycle(setup: Setup, progress: Progress, share: float, enough: float = 1.0) -> None:
    """Write the weights where a cycle has just ended; or is `enough` of one, at the end of a run."""
    recipe = setup.recipe
    position = share * recipe.n_cycles - progress.cycle
    is_new = cycle_at(share, recipe.n_cycles) > progress.cycle
    if not recipe.keeps_cycles or not (is_new or (enough < 1 and enough <= position <= 1 + 1e-6)):
        return
    weights = setup.learner.candidate()
    if setup.team.is_first:
        save_cycle(setup.run_dir, setup.stage.number, progress.cycle, weights)
    progress.cycle = cycle_at(share, recipe.n_cycles)


def _next_stage(setup: Setup, staged: Setup, progress: Progress) -> Setup:
    """Begin another stage with the best weights so far, or the last ones of the stage before."""
    number = progress.stage + 1
    is_from_best = setup.recipe.staged()[number].stage_start == "best"
    weights = load_best(setup.run_dir) if is_from_best else merged_state(staged.learner.network)
    following = setup.at_stage(number, weights)
    progress.stage, progress.stage_epoch, progress.step = number, progress.epoch, following.stage.first_step
    progress.cycle, progress.n_bad, progress.n_lowered, progress.losses = 0, 0, 0, []
    _save(following, progress)
    return following


def _is_checkpoint_due(setup: Setup, progress: Progress) -> bool:
    recipe = setup.recipe
    is_late = setup.clock.elapsed_s() - progress.elapsed_s >= recipe.checkpoint_every_s
    return is_late or bool(recipe.checkpoint_every_steps and progress.step % recipe.checkpoint_every_steps == 0)


def _save(setup: Setup, progress: Progress) -> None:
    progress.elapsed_s = setup.clock.elapsed_s()
    if setup.team.is_first:
        save_checkpoint(setup.run_dir, setup.learner, progress)


def _epoch_ended(
    setup: Setup, progress: Progress, train_loss: float, validated: tuple[float, bool], began_s: float
) -> EpochEnded:
    clock, n_epochs = setup.clock, setup.stage.epochs_after(progress.stage_epoch)
    per_epoch_s = clock.elapsed_s() - began_s
    left_s = min(clock.left_for_training_s(), (n_epochs - progress.epoch) * per_epoch_s)
    expected = progress.epoch + int(max(0.0, left_s) / max(per_epoch_s, 1e-6))
    return EpochEnded(
        epoch=progress.epoch,
        n_epochs=min(n_epochs, expected),
        train_loss=train_loss,
        val_dice=validated[0],
        best=validated[1],
        seconds=clock.elapsed_s(),
        seconds_left=max(0.0, left_s) + clock.reserved_s,
        rate=setup.learner.rate,
        stage=progress.stage,
        loss_weights=setup.learner.loss.changing_weights(share_of_stage(setup, progress)),
    )
