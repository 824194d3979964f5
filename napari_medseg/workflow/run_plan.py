"""What a run begins with and how it learns: the live version and the usual recipe, or what a person wants instead."""

from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.tasks import Task
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import DataStats, RecipeOverrides, make_default_start_plan
from training.recipe import Recipe, make_fine_tuning_recipe, update_recipe
from training.start_plan import StartPlan, make_first_model_recipe, make_start_plan

PROJECT_RECIPE_KEYS = frozenset(("base", "compare_with", "field_base", "name", "version"))
"""Keys of a recipe that follow from what a project learns from and what is live."""
NO_CHANGES = RecipeOverrides()
_PLACEHOLDER_SIZES = DataStats(n_train=1, n_validate=0, n_planes=1, side_px=1, look="")
"""Never looked at: they decide how large pictures are shown, and here the version that came before decides that."""


@dataclass(frozen=True)
class RunRequest:
    """What a person wants of a run.

    Parameters
    ----------
    budget_s
        Seconds; `None` for as long as the epochs take.
    seed
        Of all random numbers.
    base
        Version to start from, as in ``lungs-unet@1``; the live one where it is empty.
    changes
        Of network, preprocessing, start and recipe; where they make another network than the one to start from, it
        begins as a first model does.
    """

    budget_s: float | None
    seed: int = 0
    base: str = ""
    changes: RecipeOverrides = NO_CHANGES


@dataclass(frozen=True)
class RunPlan:
    """How a run begins.

    `base` is the version that it learns from, `None` for a first model; `rival` the one that it has to beat; `start`
    is there where the network is a new one.
    """

    base: ModelCard | None
    baseline: ModelCard | None
    recipe: Recipe
    start: StartPlan | None

    @property
    def uses_replay(self) -> bool:
        """Whether older data are of use: a new network that learns none of them is not to be chosen by them either."""
        return self.start is None or self.recipe.replay_share > 0


def plan_run(ws: Workspace, task: Task, request: RunRequest) -> RunPlan:
    """Decide how a run begins.

    Raises
    ------
    MedSegError
        If there is no such version of the task, or the changes cannot be.
    """
    if fixed := sorted(PROJECT_RECIPE_KEYS & request.changes.recipe.keys()):
        raise MedSegError(
            f"the recipe changes {', '.join(fixed)}, which the project decides. Leave that out; --from names the "
            "version to start from."
        )
    live = ws.registry.find_live_card(task.name)
    base = _get_version(ws, task, request.base) if request.base else live
    start = _plan_start(ws, task, base, request.changes)
    recipe = (
        _make_retraining_recipe(ws, task, base, request)
        if start is None
        else _make_first_recipe(ws, task, base, request)
    )
    rival = live or base
    finders = [ws.get_roi_model_folder(card.id) for card in (base, rival) if card is not None]
    finder = next((folder for folder in finders if folder is not None), None)
    is_other = rival is not None and (start is not None or rival != base)
    chosen = {
        "field_base": "" if finder is None else str(finder.absolute()),
        "compare_with": str(ws.registry.get_folder(rival.id).absolute()) if rival is not None and is_other else "",
    }
    recipe = update_recipe(recipe, request.changes.recipe | chosen)
    if start is not None and base is not None and (start.weights_from or recipe.replay_share):
        card = start.card.model_copy(update={"training_data": base.training_data})
        start = start.model_copy(update={"card": card})
    return RunPlan(base, rival, recipe, start)


def _get_version(ws: Workspace, task: Task, model: str) -> ModelCard:
    versions = {card.id: card for card in ws.registry.list_versions(task.name)}
    return look_up(versions, model, problem=f"there is no version {model!r} of the task {task.name!r}")


def _make_retraining_recipe(ws: Workspace, task: Task, base: ModelCard | None, asked: RunRequest) -> Recipe:
    """Return the recipe of retraining; there is a base, as a task without one begins with a start."""
    if base is None:
        raise MedSegError(f"the task {task.name!r} has no version to start from. Train its first model.")
    recipe = make_fine_tuning_recipe(
        base=str(ws.registry.get_folder(base.id).absolute()),
        name=base.name,
        version=ws.registry.find_next_version(base.name),
        budget_s=asked.budget_s,
        seed=asked.seed,
    )
    return recipe.model_copy(
        update={"augmentation": task.augmentation, "replay_augmentation": task.replay_augmentation}
    )


def _make_first_recipe(ws: Workspace, task: Task, base: ModelCard | None, asked: RunRequest) -> Recipe:
    name = _get_model_family(task, base)
    return make_first_model_recipe(task, name, ws.registry.find_next_version(name), asked.budget_s, asked.seed)


def _get_model_family(task: Task, base: ModelCard | None) -> str:
    return task.default_model if base is None else base.name


def _plan_start(ws: Workspace, task: Task, base: ModelCard | None, changes: RecipeOverrides) -> StartPlan | None:
    """Return what a first model or a new network begins with; `None` where the base itself goes on learning."""
    versions = [(card, ws.registry.get_folder(card.id)) for card in ws.registry.list_versions()]
    usual = make_start_plan(task, _get_model_family(task, base), versions) if base is None else None
    before = usual.card if usual is not None else base
    if before is None or not _changes_network(before, changes):
        return usual
    changes = _complete_changes(before, changes)
    same = [
        donor for donor in versions if base is not None and donor[0].id == base.id and changes.matches_network(base)
    ]
    start = make_default_start_plan(task, _get_model_family(task, base), same or versions, _PLACEHOLDER_SIZES, changes)
    card = start.card.model_copy(update={"field": before.field})
    source = {"encoder_weights": _resolve_weights(changes.weights), "registry": str(ws.registry.user_dir.absolute())}
    return start.model_copy(update={"card": card, **source})


def _changes_network(card: ModelCard, changes: RecipeOverrides) -> bool:
    """Whether the changes make something else of a version than its weights can go on with."""
    prepares = card.preprocessing.model_dump()
    prepares_otherwise = prepares | changes.preprocessing != prepares
    other_steps = changes.postprocessing not in ([], card.postprocessing)
    return not changes.matches_network(card) or prepares_otherwise or other_steps or bool(changes.weights)


def _complete_changes(card: ModelCard, changes: RecipeOverrides) -> RecipeOverrides:
    """Return changes that say in full what stays as on the card; another network has options of its own."""
    stays = card.architecture
    is_of_its_kind = changes.architecture.get("name", stays.name) == stays.name
    options = stays.options if is_of_its_kind else {}
    whole = {
        "architecture": {"name": stays.name, "encoder": stays.encoder, "options": options} | changes.architecture,
        "preprocessing": card.preprocessing.model_dump() | changes.preprocessing,
        "postprocessing": changes.postprocessing or card.postprocessing,
    }
    return changes.model_copy(update=whole)


def _resolve_weights(weights: str) -> str:
    """Return where a file of weights lies, as the run works in another folder; other sources by their name."""
    path = Path(weights).expanduser()
    if path.suffix == ".safetensors" and not path.is_file():
        raise MedSegError(f"there is no file of encoder weights {path}. Correct `weights` in the recipe.")
    return str(path.absolute()) if weights and path.is_file() else weights
