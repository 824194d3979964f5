"""The form with retrain options: start version, time, seed and recipe file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.workflow.run_plan import RunRequest
from training.from_folders.default_recipe import NO_OVERRIDES, read_recipe_overrides

TIME_BUDGETS = (("≤ 30 s", 30.0), ("≤ 60 s", 60.0), ("≤ 90 s", 90.0), ("≤ 5 min", 300.0), ("≤ 15 min", 900.0))
MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class RetrainOptions:
    """The selected options. Empty `base` means the live version; `recipe=None` means the default recipe."""

    base: str
    budget_s: float
    seed: int
    recipe: Path | None

    def read_request(self) -> RunRequest:
        """Return what is asked for, with the content of the recipe; raise `MedSegError` if that is no recipe."""
        changes = NO_OVERRIDES if self.recipe is None else read_recipe_overrides(self.recipe)
        return RunRequest(self.budget_s, self.seed, self.base, changes)


def make_retrain_form(
    start: Callable[[RetrainOptions], None], live: str, models: Sequence[str], budget_s: float
) -> FunctionGui:
    """Make the form; it calls `start` with the options.

    Parameters
    ----------
    start
        Starts the run.
    live
        The live version, which is the default; empty if the task has none.
    models
        All versions of the task, as in ``lungs-unet@4``.
    budget_s
        Initial time budget in seconds; one of `TIME_BUDGETS`.
    """
    first = (f"{live} (live)" if live else "the best matching model", "")
    choices = [first, *((model, model) for model in models if model != live)]

    def retrain(base: str, budget_s: float, seed: int, recipe: Path | None = None) -> None:
        start(RetrainOptions(base, budget_s, seed, recipe))

    return magicgui(
        retrain,
        call_button=False,
        base={
            "label": "Start from",
            "choices": choices,
            "tooltip": "The new version is compared with the live version in any case",
        },
        budget_s={
            "label": "Time",
            "choices": TIME_BUDGETS,
            "value": budget_s,
            "tooltip": "Time limit of the whole run, including the comparison with the live version",
        },
        seed={
            "label": "Seed",
            "min": 0,
            "max": MAX_SEED,
            "value": 0,
            "tooltip": "The same seed and corrections give the same result on a CPU",
        },
        recipe={
            "label": "Recipe",
            "nullable": True,
            "filter": "Recipes (*.toml *.json)",
            "tooltip": "Optional TOML or JSON file that changes the default recipe; see docs/learning.md",
        },
    )
