"""What a run begins with and how it learns: the live version and the usual recipe, or what a person wants instead."""

from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.tasks import Task
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import Changes, Sizes, default_start
from training.recipe import Recipe, changed_recipe, fine_tuning_recipe
from training.start_plan import FirstStart, first_recipe, first_start

OF_THE_PROJECT = frozenset(("base", "compare_with", "field_base", "name", "version"))
"""Keys of a recipe that follow from what a project learns from and what is live."""
UNASKED = Changes()
_SIZES = Sizes(n_train=1, n_validate=0, n_planes=1, side_px=1, look="")
"""Never looked at: they decide how large pictures are shown, and here the version that came before decides that."""


@dataclass(frozen=True)
class Asked:
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
    changes: Changes = UNASKED


@dataclass(frozen=True)
class Beginning:
    """How a run begins.

    `base` is the version that it learns from, `None` for a first model; `rival` the one that it has to beat; `start`
    is there where the network is a new one.
    """

    base: ModelCard | None
    rival: ModelCard | None
    recipe: Recipe
    start: FirstStart | None

    @property
    def replays(self) -> bool:
        """Whether older data are of use: a new network that learns none of them is not to be chosen by them either."""
        return self.start is None or self.recipe.replay_share > 0


def beginning_of(ws: Workspace, task: Task, asked: Asked) -> Beginning:
    """Decide how a run begins.

    Raises
    ------
    MedSegError
        If there is no such version of the task, or the changes cannot be.
    """
    if fixed := sorted(OF_THE_PROJECT & asked.changes.recipe.keys()):
        raise MedSegError(
            f"the recipe changes {', '.join(fixed)}, which the project decides. Leave that out; --from names the "
            "version to start from."
        )
    live = ws.registry.live_or_none(task.name)
    base = _version(ws, task, asked.base) if asked.base else live
    start = _start(ws, task, base, asked.changes)
    recipe = _recipe(ws, task, base, asked) if start is None else _first_recipe(ws, task, base, asked)
    rival = live or base
    finders = [ws.field_folder(card.id) for card in (base, rival) if card is not None]
    finder = next((folder for folder in finders if folder is not None), None)
    is_other = rival is not None and (start is not None or rival != base)
    chosen = {
        "field_base": "" if finder is None else str(finder.absolute()),
        "compare_with": str(ws.registry.folder(rival.id).absolute()) if rival is not None and is_other else "",
    }
    recipe = changed_recipe(recipe, asked.changes.recipe | chosen)
    if start is not None and base is not None and (start.weights_from or recipe.replay_share):
        card = start.card.model_copy(update={"training_data": base.training_data})
        start = start.model_copy(update={"card": card})
    return Beginning(base, rival, recipe, start)


def _version(ws: Workspace, task: Task, model: str) -> ModelCard:
    versions = {card.id: card for card in ws.registry.versions(task.name)}
    if model not in versions:
        raise MedSegError(f"there is no version {model!r} of the task {task.name!r}; choose one of {sorted(versions)}")
    return versions[model]


def _recipe(ws: Workspace, task: Task, base: ModelCard | None, asked: Asked) -> Recipe:
    """Return the recipe of retraining; there is a base, as a task without one begins with a start."""
    if base is None:
        raise MedSegError(f"the task {task.name!r} has no version to start from. Train its first model.")
    recipe = fine_tuning_recipe(
        base=str(ws.registry.folder(base.id).absolute()),
        name=base.name,
        version=ws.registry.next_version(base.name),
        budget_s=asked.budget_s,
        seed=asked.seed,
    )
    return recipe.model_copy(
        update={"augmentation": task.augmentation, "replay_augmentation": task.replay_augmentation}
    )


def _first_recipe(ws: Workspace, task: Task, base: ModelCard | None, asked: Asked) -> Recipe:
    name = _family(task, base)
    return first_recipe(task, name, ws.registry.next_version(name), asked.budget_s, asked.seed)


def _family(task: Task, base: ModelCard | None) -> str:
    return task.default_model if base is None else base.name


def _start(ws: Workspace, task: Task, base: ModelCard | None, changes: Changes) -> FirstStart | None:
    """Return what a first model or a new network begins with; `None` where the base itself goes on learning."""
    versions = [(card, ws.registry.folder(card.id)) for card in ws.registry.versions()]
    usual = first_start(task, _family(task, base), versions) if base is None else None
    before = usual.card if usual is not None else base
    if before is None or not _changes_network(before, changes):
        return usual
    changes = _completed(before, changes)
    same = [
        donor for donor in versions if base is not None and donor[0].id == base.id and changes.keep_network_of(base)
    ]
    start = default_start(task, _family(task, base), same or versions, _SIZES, changes)
    card = start.card.model_copy(update={"field": before.field})
    source = {"encoder_weights": _absolute(changes.weights), "registry": str(ws.registry.user_dir.absolute())}
    return start.model_copy(update={"card": card, **source})


def _changes_network(card: ModelCard, changes: Changes) -> bool:
    """Whether the changes make something else of a version than its weights can go on with."""
    prepares = card.preprocessing.model_dump()
    prepares_otherwise = prepares | changes.preprocessing != prepares
    other_steps = changes.postprocessing not in ([], card.postprocessing)
    return not changes.keep_network_of(card) or prepares_otherwise or other_steps or bool(changes.weights)


def _completed(card: ModelCard, changes: Changes) -> Changes:
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


def _absolute(weights: str) -> str:
    """Return where a file of weights lies, as the run works in another folder; other sources by their name."""
    path = Path(weights).expanduser()
    if path.suffix == ".safetensors" and not path.is_file():
        raise MedSegError(f"there is no file of encoder weights {path}. Correct `weights` in the recipe.")
    return str(path.absolute()) if weights and path.is_file() else weights
