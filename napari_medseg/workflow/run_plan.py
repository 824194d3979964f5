"""Start version and recipe of a run: the live version and the default recipe, or the options of the user."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import NO_OVERRIDES, RecipeOverrides, make_first_model_recipe
from training.recipe import Recipe, make_fine_tuning_recipe, update_recipe
from training.recipe_keys import find_keys
from training.start_plan import StartPlan, choose_base_version, plan_project_run

PROJECT_SETTINGS = frozenset(("run", key) for key in ("base", "compare_with", "roi_model", "name", "version"))
"""Recipe settings that the project sets itself; a user recipe must not change them."""


@dataclass(frozen=True)
class RunRequest:
    """The requested options of a run.

    Parameters
    ----------
    budget_s
        Time budget in seconds; `None` means no limit.
    seed
        Seed of all random numbers.
    base
        Version to start from, such as ``lungs-unet@4``; empty means the live version.
    changes
        Changes of network, preprocessing, start and recipe. If the network differs from that of `base`, the run starts
        like a first model.
    """

    budget_s: float | None
    seed: int = 0
    base: str = ""
    changes: RecipeOverrides = NO_OVERRIDES


@dataclass(frozen=True)
class RunPlan:
    """How a run starts.

    `base` is the version to start from, `None` for a first model. `baseline` is the version that it must beat. `start`
    is set only if the network is new.
    """

    base: ModelCard | None
    baseline: ModelCard | None
    recipe: Recipe
    start: StartPlan | None

    @property
    def uses_replay(self) -> bool:
        """Whether older images are replayed. A new network that does not train on them is not validated on them."""
        return self.start is None or self.recipe.fine_tuning.replay_share > 0


def plan_run(ws: Workspace, task: Task, request: RunRequest) -> RunPlan:
    """Decide how a run starts.

    Raises
    ------
    MedSegError
        If the version does not exist for this task, or the changes are not allowed.
    """
    if fixed := sorted(find_keys(request.changes.recipe, PROJECT_SETTINGS)):
        raise MedSegError(
            f"the recipe changes {', '.join(fixed)}, which the project decides. Remove that; use --from to choose the "
            "version to start from."
        )
    base, live = choose_base_version(ws.registry, task, request.base), ws.registry.find_live_card(task.name)
    start = plan_project_run(ws.registry, task, base, request.changes)
    recipe = _make_recipe(ws, task, base, start, request)
    rival = live or base
    roi_folders = [ws.registry.find_roi_folder(card) for card in (base, rival) if card is not None]
    roi_folder = next((folder for folder in roi_folders if folder is not None), None)
    is_other = rival is not None and (start is not None or rival != base)
    chosen = {
        "roi_model": "" if roi_folder is None else str(roi_folder.absolute()),
        "compare_with": str(ws.registry.keep_copy(rival.id).absolute()) if rival is not None and is_other else "",
    }
    recipe = update_recipe(update_recipe(recipe, request.changes.recipe), {"run": chosen})
    if start is not None and base is not None and (start.weights_from or recipe.fine_tuning.replay_share):
        card = start.card.model_copy(update={"training_data": base.training_data})
        start = start.model_copy(update={"card": card})
    return RunPlan(base, rival, recipe, start)


def _make_recipe(
    ws: Workspace, task: Task, base: ModelCard | None, start: StartPlan | None, request: RunRequest
) -> Recipe:
    """Return the fine-tuning recipe if `base` is trained further; otherwise the recipe of a first model."""
    name = task.default_model if base is None else base.name
    version = ws.registry.find_next_version(name)
    if base is None or start is not None:
        return make_first_model_recipe(task, name, version, request.budget_s, request.seed)
    folder = str(ws.registry.keep_copy(base.id).absolute())  # a paused run goes on after an update of the program
    recipe = make_fine_tuning_recipe(folder, name, version, request.budget_s, request.seed)
    presets = {"preset": task.augmentation, "replay_preset": task.replay_augmentation}
    return update_recipe(recipe, {"augmentation": presets})


def make_run_id(family: str) -> str:
    """Return the name of a new run: when it began, the model family, and four random letters."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{family}-{uuid.uuid4().hex[:4]}"
