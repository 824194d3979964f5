"""How fast a network learns over a run, and how a run keeps to its budget.

Progress counts in steps or in seconds, whichever is further: a budgeted run on a busy machine still ends with a small
learning rate, which is where most of the accuracy comes from.
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

ROUNDING_TOLERANCE = 1e-9
"""So that 3 of 9 steps are a third."""

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Return the full rate throughout. `progress` in [0, 1]; the result is a factor in [0, 1]."""
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0; gone through several times it is SGDR (Loshchilov & Hutter, ICLR 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """Return a straight line from 1 to 0."""
    return 1.0 - progress


def one_cycle(progress: float) -> float:
    """Half a cosine up for three tenths, and one down to next to nothing (Smith & Topin, Super-convergence, 2018)."""
    if progress < ONE_CYCLE_RISE:
        return ONE_CYCLE_START + (1.0 - ONE_CYCLE_START) * (1.0 - cosine(progress / ONE_CYCLE_RISE))
    return ONE_CYCLE_END + (1.0 - ONE_CYCLE_END) * cosine((progress - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear, "one_cycle": one_cycle}


def get_schedule(name: str, n_cycles: int = 1) -> Schedule:
    """Return a schedule that is gone through `n_cycles` times, after one short warm-up at the very beginning.

    Raises
    ------
    MedSegError
        Listing the choices where there is none of that name.
    """
    shape = look_up(SCHEDULES, name, "schedule")

    def factor(progress: float) -> float:
        progress = min(1.0, progress)
        position = progress * n_cycles - get_cycle(progress, n_cycles)
        return _compute_warm_up(progress) * shape(min(1.0, max(0.0, position)))

    return factor


def get_cycle(progress: float, n_cycles: int) -> int:
    """Return the cycle, from 0, that a share of the training lies in; at the very end it is still the last one."""
    return min(n_cycles - 1, int(progress * n_cycles + ROUNDING_TOLERANCE))


@dataclass
class TimeBudget:
    """Seconds of one run, over all its processes.

    Parameters
    ----------
    started
        `time.monotonic()` at the start of this process.
    budget_s
        Seconds for the whole run, comparison included; `None` for as long as the recipe's epochs take.
    carried_s
        Seconds that earlier processes of a resumed run used.
    reserved_s
        Seconds kept for what comes after the last step: validation, comparison, card and report.
    training_started_s
        Second of the run at which the first step began.
    """

    started: float
    budget_s: float | None = None
    carried_s: float = 0.0
    reserved_s: float = 0.0
    training_started_s: float = 0.0

    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.carried_s + time.monotonic() - self.started

    def remaining_training_s(self) -> float:
        """Seconds until the last step must have ended; infinite without a budget."""
        if self.budget_s is None:
            return math.inf
        return self.budget_s - self.reserved_s - self.elapsed_s()

    def is_exhausted(self) -> bool:
        """Whether the budget is used up."""
        return self.budget_s is not None and self.elapsed_s() > self.budget_s

    def compute_progress(self, step: int, n_steps: int) -> float:
        """Share of the training that is over, in [0, 1], by steps or by seconds, whichever is further."""
        by_steps = step / max(1, n_steps)
        if self.budget_s is None:
            return min(1.0, by_steps)
        available = max(1e-6, self.budget_s - self.reserved_s - self.training_started_s)
        return min(1.0, max(by_steps, (self.elapsed_s() - self.training_started_s) / available))


def _compute_warm_up(progress: float) -> float:
    return min(1.0, (progress + 1e-3) / WARM_UP_SHARE)


@dataclass(frozen=True)
class Stage:
    """One stage, as it is planned: it may end earlier. Epochs and steps are counted over the whole run.

    Parameters
    ----------
    number
        From 0.
    recipe
        The run's, with the changes of this stage.
    first_epoch, first_step
        How many the stages before have.
    n_epochs, n_steps
        Of the whole run.
    """

    number: int
    recipe: Recipe
    first_epoch: int
    first_step: int
    n_epochs: int
    n_steps: int

    def compute_end_step(self, n_epochs: int) -> int:
        """Return the number of steps that are done when so many epochs of this stage are over."""
        return self.first_step + n_epochs * self.recipe.schedule.steps_per_epoch

    def compute_total_epochs(self, n_epochs: int) -> int:
        """Return how many epochs the run has where so many are over when this stage begins."""
        return n_epochs + self.n_epochs - self.first_epoch

    def compute_progress(self, run_progress: float) -> float:
        """Return the share of this stage that is over, in [0, 1], when a share of the run is."""
        last_step = self.compute_end_step(self.recipe.schedule.n_epochs)
        start, end = (step / self.n_steps for step in (self.first_step, last_step))
        return min(1.0, max(0.0, (run_progress - start) / (end - start)))


def make_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages of a run: one where the recipe names none."""
    recipes = recipe.resolve_stages()
    lengths = [(each.schedule.n_epochs, each.schedule.n_epochs * each.schedule.steps_per_epoch) for each in recipes]
    epochs, steps = (list(accumulate(counts, initial=0)) for counts in zip(*lengths, strict=True))
    return tuple(Stage(n, each, epochs[n], steps[n], epochs[-1], steps[-1]) for n, each in enumerate(recipes))


def describe_stage_changes(recipe: Recipe, number: int) -> str:
    """Return what a stage changes, for people."""
    changes = (f"{key.replace('_', ' ')} {value}" for key, value in flatten_keys(recipe.stages[number]).items())
    return ", ".join(changes) or "as the run's recipe says"
