"""The stages of a run, one after the other: which epochs and steps are whose, and what changes between them."""

from dataclasses import dataclass
from itertools import accumulate

from training.recipe import Recipe


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

    def last_step(self, n_epochs: int) -> int:
        """Return the number of steps that are done when so many epochs of this stage are over."""
        return self.first_step + n_epochs * self.recipe.steps_per_epoch

    def epochs_after(self, n_epochs: int) -> int:
        """Return how many epochs the run has where so many are over when this stage begins."""
        return n_epochs + self.n_epochs - self.first_epoch

    def progress(self, of_run: float) -> float:
        """Return the share of this stage that is over, in [0, 1], when a share of the run is."""
        start, end = (step / self.n_steps for step in (self.first_step, self.last_step(self.recipe.n_epochs)))
        return min(1.0, max(0.0, (of_run - start) / (end - start)))


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Return the stages of a run: one where the recipe names none."""
    recipes = recipe.staged()
    epochs = list(accumulate((each.n_epochs for each in recipes), initial=0))
    steps = list(accumulate((each.n_epochs * each.steps_per_epoch for each in recipes), initial=0))
    return tuple(Stage(n, each, epochs[n], steps[n], epochs[-1], steps[-1]) for n, each in enumerate(recipes))


def changes_of(recipe: Recipe, number: int) -> str:
    """Return what a stage changes, for people."""
    changes = (f"{key.replace('_', ' ')} {value}" for key, value in recipe.stages[number].items())
    return ", ".join(changes) or "as the run's recipe says"
