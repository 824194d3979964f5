"""Control of a run: stages, epochs, stopping, checkpoints. The training loop itself contains only the learning steps.

`RunControl` yields stages, epochs and steps until the run is finished, out of time, paused or cancelled. It writes
checkpoints, returns to the best weights if losses are not finite, and keeps the weights at the ends of cycles. With
several processes, only the first one decides and writes.
"""

import logging
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from torch import nn

from napari_medseg.networks.lora import merge_lora
from training.checkpoint import (
    TolerantWriter,
    TrainingProgress,
    load_best,
    load_checkpoint,
    read_progress,
    save_best,
    save_checkpoint,
    save_cycle,
)
from training.model_selection import time_second_validation, validate
from training.run_folder import EVALUATION_REQUEST_FILE, EpochEnded, Notice, is_cancelled, is_paused
from training.run_setup import TrainingSetup
from training.schedule import describe_stage_changes, get_cycle, get_schedule

VALIDATION_RESERVE = 1.5
FINAL_WORK_S = 2.5
"""Time to write weights, card and report, to end the process, and to store the version."""
EVALUATION_PAGE_S = 2.0
"""Time to draw the figures of a full evaluation and to write its page."""
MAX_BAD_BATCHES = 3
RATE_DROP_FACTOR = 0.1
MAX_RATE_DROPS = 3
"""`MAX_BAD_BATCHES` batches in a row without a finite loss divide the rate by 10, at most `MAX_RATE_DROPS` times."""
MIN_CYCLE_SHARE = 0.75

logger = logging.getLogger(__name__)


class RunCommand(IntEnum):
    """What a run has to do after a step."""

    CONTINUE = 0
    STOP = 1
    PAUSE = 2


@dataclass(frozen=True)
class Step:
    """The next step of a run.

    Parameters
    ----------
    number
        Counted over the whole run, from 0.
    rate_factor
        Factor of the recipe's learning rates, in [0, 1].
    stage_progress
        Completed share of the stage, in [0, 1].
    """

    number: int
    rate_factor: float
    stage_progress: float


class RunControl:
    """Controls one run.

    Parameters
    ----------
    setup
        Setup of the run.
    progress
        Progress of the run; updated here.
    """

    def __init__(self, setup: TrainingSetup, progress: TrainingProgress) -> None:
        self.progress = progress
        self._run = setup
        self._setup = setup
        self._notices: list[Notice] = []
        self._writer = TolerantWriter(lambda text: self._notices.append(Notice(text)))
        self._epoch_began_s = 0.0

    def stages(self) -> Iterator[TrainingSetup]:
        """Yield the setup of each stage from the current one on, until the last is over or the run has to end."""
        budget, progress = self._run.time_budget, self.progress
        if not progress.step:
            progress.training_started_s = budget.elapsed_s()
        budget.training_started_s = progress.training_started_s
        self._setup = self._run.make_stage_setup(progress.stage)
        load_checkpoint(self._run.run_dir, self._setup.learner)
        while True:
            learner = self._setup.learner
            progress.n_parts = learner.n_parts = max(learner.n_parts, progress.n_parts)
            yield self._setup
            self._save_cycle_weights(self._compute_stage_progress(), MIN_CYCLE_SHARE)
            command = self._get_command()
            if command is RunCommand.PAUSE:
                self._save_progress(is_required=True)
            is_last = progress.stage + 1 >= len(self._run.recipe.stages)
            if is_last or command is not RunCommand.CONTINUE or self._has_diverged():
                for unused in (self._run.learner, learner):  # the final evaluation needs the memory
                    unused.free_memory()
                return
            self._begin_next_stage()

    def epochs(self) -> Iterator[int]:
        """Yield the number of each epoch of the stage, until its epochs, time or patience are used up."""
        progress = self.progress
        for epoch in range(progress.epoch + 1, progress.stage_epoch + self._setup.recipe.schedule.n_epochs + 1):
            if self._is_stage_over():
                return
            self._epoch_began_s = self._run.time_budget.elapsed_s()
            yield epoch

    def steps(self) -> Iterator[Step]:
        """Yield the steps of the epoch, fewer if the run has to end. Call `record_loss` after each step."""
        progress, settings = self.progress, self._setup.recipe.schedule
        schedule = get_schedule(settings.name, settings.n_cycles)
        last_step = self._setup.stage.compute_end_step(progress.epoch + 1 - progress.stage_epoch)
        command = self._get_command()
        while progress.step < last_step and command is RunCommand.CONTINUE and not self._has_diverged():
            share = self._compute_stage_progress()
            self._save_cycle_weights(share)
            yield Step(progress.step, schedule(share) * RATE_DROP_FACTOR**progress.n_lowered, share)
            command = self._get_command()
            if self._is_checkpoint_due():
                self._save_progress()
        if n_bad := progress.losses.count(None):
            text = f"{n_bad} of {len(progress.losses)} batches had no finite loss and were skipped"
            self._notices.append(Notice(text))

    def record_loss(self, loss: float | None) -> None:
        """Record the loss of the last step; after several non-finite losses, return to the best weights."""
        progress = self.progress
        progress.step, progress.n_bad = progress.step + 1, 0 if loss is not None else progress.n_bad + 1
        progress.losses.append(loss)
        if (n_parts := self._setup.learner.n_parts) != progress.n_parts:
            progress.n_parts = n_parts
            self._notices.append(Notice(f"memory ran out: each batch is now computed in {n_parts} parts, more slowly"))
        if progress.n_bad >= MAX_BAD_BATCHES:
            self._restore_best_and_lower_rate()

    def end_epoch(self, candidate: nn.Module, val_dice: float) -> EpochEnded:
        """Keep the candidate if it is the best so far, write a checkpoint, and return the event of the epoch."""
        progress, keep = self.progress, self._setup.recipe.schedule.keep
        finite = [loss for loss in progress.losses if loss is not None]
        train_loss = statistics.fmean(finite) if finite else math.nan
        val_dice = self._run.rank_context.broadcast(val_dice)
        is_wanted = keep == "last" and math.isfinite(train_loss)
        progress.epoch, progress.losses = progress.epoch + 1, []
        if better := (is_wanted or val_dice > progress.best_val_dice) and self._keep_best(candidate):
            progress.best_epoch, progress.best_val_dice = progress.epoch, val_dice
        self._save_progress()
        return self._make_epoch_event(train_loss, val_dice, better=better)

    def is_paused(self) -> bool:
        """Whether a pause is requested. Then the current epoch is not completed."""
        return self._get_command() is RunCommand.PAUSE

    def take_notices(self) -> list[Notice]:
        """Return the notices since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def _get_command(self) -> RunCommand:
        """Return whether to take another step: not if it would exceed the budget, or a stop or pause is requested."""
        run, command = self._run, RunCommand.CONTINUE
        if is_cancelled(run.run_dir) or run.time_budget.remaining_training_s() < self._setup.learner.last_step_s:
            command = RunCommand.STOP
        elif is_paused(run.run_dir):
            command = RunCommand.PAUSE
        return RunCommand(int(run.rank_context.broadcast(command)))

    def _compute_stage_progress(self) -> float:
        """Return the completed share of the stage, in [0, 1]."""
        stage = self._setup.stage
        run_progress = self._run.time_budget.compute_progress(self.progress.step, stage.n_steps)
        return self._run.rank_context.broadcast(stage.compute_progress(run_progress))

    def _is_stage_over(self) -> bool:
        """Whether the stage ends here: by command, because patience or time are used up, or because it diverged."""
        progress = self.progress
        if self._get_command() is RunCommand.STOP or self._compute_stage_progress() >= 1:
            return True
        n_without_better = progress.epoch - max(progress.best_epoch, progress.stage_epoch)
        return n_without_better >= self._setup.recipe.schedule.patience or self._has_diverged()

    def _has_diverged(self) -> bool:
        return self.progress.n_lowered > MAX_RATE_DROPS

    def _restore_best_and_lower_rate(self) -> None:
        """Return to the best weights and lower the rate; after too many times, the run has diverged."""
        self.progress.n_bad, self.progress.n_lowered = 0, self.progress.n_lowered + 1
        text = "the loss is not finite any more: training stopped; the best weights so far are kept"
        if not self._has_diverged():
            self._setup.learner.restart_from(load_best(self._run.run_dir))
            text = (
                f"{MAX_BAD_BATCHES} batches in a row had no finite loss: training continues from the best weights with "
                "a tenth of the learning rate"
            )
        self._notices.append(Notice(text))

    def _save_cycle_weights(self, share: float, enough: float = 1.0) -> None:
        """Write the weights if a cycle has just ended; at the end of a stage, the share `enough` of it suffices."""
        progress, n_cycles = self.progress, self._setup.recipe.schedule.n_cycles
        position = share * n_cycles - progress.cycle
        is_new = get_cycle(share, n_cycles) > progress.cycle
        if not self._setup.recipe.keeps_cycles or not (is_new or (enough < 1 and enough <= position <= 1 + 1e-6)):
            return
        weights = self._setup.learner.make_candidate()
        if self._run.rank_context.is_main:
            place = self._run.run_dir, self._setup.stage.number, progress.cycle
            self._writer.try_to_save(lambda: save_cycle(*place, weights), "the weights of this cycle are not kept")
        progress.cycle = get_cycle(share, n_cycles)

    def _begin_next_stage(self) -> None:
        """Start the next stage with the best weights so far, or with the last weights of the previous stage."""
        progress, number = self.progress, self.progress.stage + 1
        is_from_best = self._run.recipe.resolve_stages()[number].schedule.stage_start == "best"
        weights = load_best(self._run.run_dir) if is_from_best else merge_lora(self._setup.learner.network)
        self._setup = self._run.make_stage_setup(number, weights)
        progress.stage, progress.stage_epoch, progress.step = number, progress.epoch, self._setup.stage.first_step
        progress.cycle, progress.n_bad, progress.n_lowered, progress.losses = 0, 0, 0, []
        self._save_progress()
        changes = describe_stage_changes(self._run.recipe, number)
        self._notices.append(Notice(f"stage {number + 1} starts: {changes}"))

    def _is_checkpoint_due(self) -> bool:
        settings = self._setup.recipe.run
        is_late = self._run.time_budget.elapsed_s() - self.progress.elapsed_s >= settings.checkpoint_every_s
        n_steps = settings.checkpoint_every_steps
        return is_late or bool(n_steps and self.progress.step % n_steps == 0)

    def _save_progress(self, *, is_required: bool = False) -> None:
        self.progress.elapsed_s = self._run.time_budget.elapsed_s()
        state = self._run.run_dir, self._setup.learner, self.progress
        if self._run.rank_context.is_main and is_required:
            save_checkpoint(*state)
        elif self._run.rank_context.is_main:
            lost = "a run that stops now would resume from an earlier checkpoint"
            self._writer.try_to_save(lambda: save_checkpoint(*state), lost)

    def _keep_best(self, candidate: nn.Module) -> bool:
        is_kept = True
        if self._run.rank_context.is_main:
            run_dir, lost = self._run.run_dir, f"the weights of epoch {self.progress.epoch} are not kept"
            is_kept = self._writer.try_to_save(lambda: save_best(run_dir, candidate), lost)
        return bool(self._run.rank_context.broadcast(is_kept))

    def _make_epoch_event(self, train_loss: float, val_dice: float, *, better: bool) -> EpochEnded:
        progress, budget, learner = self.progress, self._run.time_budget, self._setup.learner
        n_epochs = self._setup.stage.compute_total_epochs(progress.stage_epoch)
        per_epoch_s = budget.elapsed_s() - self._epoch_began_s
        left_s = min(budget.remaining_training_s(), (n_epochs - progress.epoch) * per_epoch_s)
        expected = progress.epoch + int(max(0.0, left_s) / max(per_epoch_s, 1e-6))
        return EpochEnded(
            epoch=progress.epoch,
            n_epochs=min(n_epochs, expected),
            train_loss=train_loss,
            val_dice=val_dice,
            best=better,
            seconds=budget.elapsed_s(),
            seconds_left=max(0.0, left_s) + budget.reserved_s,
            rate=learner.learning_rate,
            stage=progress.stage,
            loss_weights=learner.loss.get_changing_weights(self._compute_stage_progress()),
        )


def resume(setup: TrainingSetup) -> RunControl:
    """Return the control of a new or interrupted run. In a new run, the starting version is the best so far."""
    budget, recipe = setup.time_budget, setup.recipe
    progress = read_progress(setup.run_dir)
    budget.carried_s = progress.elapsed_s
    budget.reserved_s += FINAL_WORK_S
    if progress.best_val_dice < 0:
        began = budget.elapsed_s()
        parent = setup.learner.parent
        val_dice = validate(parent, setup.validation, recipe.run.precision)
        progress.best_val_dice = setup.rank_context.broadcast(val_dice)
        progress.validation_s = time_second_validation(setup, budget.elapsed_s() - began)
        if setup.rank_context.is_main:
            save_best(setup.run_dir, parent)
    n_validations = 1 if recipe.n_members == 1 else 2 * recipe.n_members + 2  # each cycle, all as one, and together
    if (setup.run_dir / EVALUATION_REQUEST_FILE).exists():
        n_validations += 1  # its probabilities are calibrated on the validation images
        budget.reserved_s += EVALUATION_PAGE_S
    budget.reserved_s += VALIDATION_RESERVE * n_validations * progress.validation_s
    logger.info("%.1f s of the budget are reserved for the last validation and the report", budget.reserved_s)
    return RunControl(setup, progress)
