"""Learning rate schedules, time budget and stages of a run.

Progress is measured in steps or in seconds, whichever is further. So a run with a budget on a busy machine still ends
with a small learning rate, which gives most of the accuracy.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from napari_medseg.core.errors import look_up
from training.recipe import Recipe
from training.recipe_keys import flatten_keys

WARM_UP_SHARE = 0.05
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-4

MAX_EVALUATION_SHARE = 0.5
"""At most this share of a time budget is reserved for the evaluation, so that the run can train."""

ROUNDING_TOLERANCE = 1e-9
"""Tolerance for rounding errors, so that 3 of 9 steps count as one third."""

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Return the full rate throughout. `progress` in [0, 1]; the result is a factor in [0, 1]."""
    return 1.0


def cosine(progress: float) -> float:
    """Return half a cosine from 1 to 0; repeated, it is SGDR (Loshchilov & Hutter, ICLR 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """Return a straight line from 1 to 0."""
    return 1.0 - progress


def one_cycle(progress: float) -> float:
    """Return half a cosine up over 30 % and half a cosine down to almost 0 (Smith & Topin, Super-convergence, 2018)."""
    if progress < ONE_CYCLE_RISE:
        return ONE_CYCLE_START + (1.0 - ONE_CYCLE_START) * (1.0 - cosine(progress / ONE_CYCLE_RISE))
    return ONE_CYCLE_END + (1.0 - ONE_CYCLE_END) * cosine((progress - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear, "one_cycle": one_cycle}


def get_schedule(name: str, n_cycles: int = 1) -> Schedule:
    """Return a schedule that is repeated `n_cycles` times, with one short warm-up at the start.

    Raises
    ------
    MedSegError
        If the name is unknown; the text lists the choices.
    """
    shape = look_up(SCHEDULES, name, "schedule")

    def factor(progress: float) -> float:
        progress = min(1.0, progress)
        position = progress * n_cycles - get_cycle(progress, n_cycles)
        return _compute_warm_up(progress) * shape(min(1.0, max(0.0, position)))

    return factor


def get_cycle(progress: float, n_cycles: int) -> int:
    """Return the cycle, from 0, at a completed share of the training; at the end it is the last cycle."""
    return min(n_cycles - 1, int(progress * n_cycles + ROUNDING_TOLERANCE))


@dataclass
class TimeBudget:
    """Seconds of one run, over all its processes.

    Parameters
    ----------
    started
        `time.monotonic()` when this process was requested: its start-up counts.
    budget_s
        Seconds for the whole run, including the comparison; `None`: the recipe's epochs end the run.
    carried_s
        Seconds that earlier processes of a resumed run used.
    reserved_s
        Seconds reserved for the work after the last step: validation, comparison, card and report.
    training_started_s
        Time of the first step, in seconds since the start of the run.
    overrun_s
        Seconds by which the evaluation is expected to exceed the budget.
    """

    started: float
    budget_s: float | None = None
    carried_s: float = 0.0
    reserved_s: float = 0.0
    training_started_s: float = 0.0
    overrun_s: float = 0.0

    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.carried_s + time.monotonic() - self.started

    def remaining_training_s(self) -> float:
        """Seconds until the last step must have ended; infinite without a budget."""
        if self.budget_s is None:
            return math.inf
        return self.budget_s - self.reserved_s - self.elapsed_s()

    def reserve_for_evaluation(self, seconds: float) -> None:
        """Reserve the seconds, at most `MAX_EVALUATION_SHARE` of the budget; the rest is counted in `overrun_s`."""
        limit_s = math.inf if self.budget_s is None else MAX_EVALUATION_SHARE * self.budget_s
        self.reserved_s += min(seconds, limit_s)
        self.overrun_s += max(0.0, seconds - limit_s)

    def is_exhausted(self) -> bool:
        """Whether the budget is used up."""
        return self.budget_s is not None and self.elapsed_s() > self.budget_s

    def compute_progress(self, step: int, n_steps: int) -> float:
        """Return the completed share of the training, in [0, 1], by steps or by seconds, whichever is further."""
        by_steps = step / max(1, n_steps)
        if self.budget_s is None:
            return min(1.0, by_steps)
        available = max(1e-6, self.budget_s - self.reserved_s - self.training_started_s)
        return min(1.0, max(by_steps, (self.elapsed_s() - self.training_started_s) / available))


def _compute_warm_up(progress: float) -> float:
    return min(1.0, (progress + 1e-3) / WARM_UP_SHARE)


@dataclass(frozen=True)
class Stage:
    """One stage as planned; it may end earlier. Epochs and steps are counted over the whole run.

    Parameters
    ----------
    number
        Index of the stage, from 0.
    recipe
        Recipe of the run with the changes of this stage.
    first_epoch, first_step
        Number of epochs and steps in the stages before.
    n_epochs, n_steps
        Number of epochs and steps of the whole run.
    """

    number: int
    recipe: Recipe
    first_epoch: int
    first_step: int
    n_epochs: int
    n_steps: int

    def compute_end_step(self, n_epochs: int) -> int:
        """Return the number of steps of the run after `n_epochs` epochs of this stage."""
        return self.first_step + n_epochs * self.recipe.schedule.steps_per_epoch

    def compute_total_epochs(self, n_epochs: int) -> int:
        """Return the total number of epochs of the run if this stage starts after `n_epochs` epochs."""
        return n_epochs + self.n_epochs - self.first_epoch

    def compute_progress(self, run_progress: float) -> float:
        """Return the completed share of this stage, in [0, 1], given the completed share of the run."""
        last_step = self.compute_end_step(self.recipe.schedule.n_epochs)
        start, end = (step / self.n_steps for step in (self.first_step, last_step))
        return min(1.0, max(0.0, (run_progress - start) / (end - start)))


def make_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages of a run; a recipe without stages has one stage."""
    recipes = recipe.resolve_stages()
    lengths = [(each.schedule.n_epochs, each.schedule.n_epochs * each.schedule.steps_per_epoch) for each in recipes]
    epochs, steps = (list(accumulate(counts, initial=0)) for counts in zip(*lengths, strict=True))
    return tuple(Stage(n, each, epochs[n], steps[n], epochs[-1], steps[-1]) for n, each in enumerate(recipes))


def describe_stage_changes(recipe: Recipe, number: int) -> str:
    """Return a text that lists what a stage changes."""
    changes = (f"{key.replace('_', ' ')} {value}" for key, value in flatten_keys(recipe.stages[number]).items())
    return ", ".join(changes) or "as the run's recipe says"
