"""Sensible numbers for a first model on somebody's own images, so that nobody has to write a recipe. No torch here.

What a person does want otherwise is a small JSON or TOML file that names only that:

    architecture = {name = "deeplabv3plus", encoder = "resnet50"}
    recipe = {loss = "focal_dice", n_epochs = 25}
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import format_validation_error
from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, PostprocessingStep
from napari_medseg.core.tasks import Task
from training.recipe import Recipe
from training.start_plan import START_FOLDER, StartPlan, make_start_plan

Donor = tuple[ModelCard, Path]
MIN_PATCH_PX, PATCH_PX = 64, 256
SIDE_MULTIPLE_PX = 32
NATIVE_MAX_SIDE_PX = 32768
ORGAN_MAX_SIDE_PX = 512
HISTOLOGY_MAX_SIDE_PX = 1024
STEPS_BY_IMAGES = ((8, 300), (32, 600), (128, 1200), (512, 2400))
MAX_STEPS = 4000
STEPS_PER_EPOCH = (10, 60)
FEW_IMAGES = 30
FEW_VALIDATION_IMAGES = 4

_Model = TypeVar("_Model", bound=BaseModel)


class RecipeOverrides(BaseModel):
    """What a person wants otherwise than the defaults; each part changes only the keys that it names.

    `weights` is what the encoder begins with: ``"imagenet"``, a file (safetensors), a version such as
    ``"my-model@2"``, or ``"none"`` for random weights on purpose. Empty: the best start there is, which is a version
    with this network, else the ImageNet weights of its encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    postprocessing: list[PostprocessingStep] = []
    recipe: dict[str, Any] = {}
    weights: str = ""

    def matches_network(self, card: ModelCard) -> bool:
        """Whether a version has all of the network that is asked for."""
        return all(getattr(card.architecture, key, None) == value for key, value in self.architecture.items())


class DataStats(BaseModel):
    """How much there is to learn from, and how large it is. `side_px` is the median of the longer sides of a plane."""

    model_config = ConfigDict(frozen=True)

    n_train: int
    n_validate: int
    n_planes: int
    side_px: int
    look: str


def read_recipe_overrides(path: Path) -> RecipeOverrides:
    """Read a file of changes, JSON or TOML; raise `MedSegError` naming every unknown or wrong key."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
        return RecipeOverrides.model_validate(content)
    except (OSError, ValueError) as error:
        reason = format_validation_error(error) if isinstance(error, ValidationError) else str(error)
        raise MedSegError(
            f"{path} is no recipe: {reason}. Its keys are {', '.join(RecipeOverrides.model_fields)}."
        ) from error


def make_default_start_plan(
    task: Task, name: str, donors: Sequence[Donor], sizes: DataStats, changes: RecipeOverrides
) -> StartPlan:
    """Return the card and the weights that a model on these images begins with.

    Where no version has the network, or `changes` name its weights, it is left to `own_data.prepare_model_recipe`
    with what its encoder begins.
    """
    fitting = [] if changes.weights else [donor for donor in donors if changes.matches_network(donor[0])]
    start = make_start_plan(task, name, fitting)
    card = start.card
    sides = {"max_side_px": _choose_max_side_px(task, sizes)} | changes.preprocessing
    changed = {
        "architecture": _override_architecture(card.architecture, changes.architecture),
        "preprocessing": _apply_overrides(card.preprocessing, sides, "preprocessing"),
        "postprocessing": changes.postprocessing,
        "weaknesses": card.weaknesses if start.weights_from else [],
        "lineage": card.lineage if start.weights_from else Lineage(),
    }
    return start.model_copy(update={"card": card.model_copy(update=changed)})


def make_default_recipe(task: Task, name: str, sizes: DataStats, changes: RecipeOverrides) -> Recipe:
    """Return how to learn from this many images of this size."""
    n_steps = next((steps for most, steps in STEPS_BY_IMAGES if sizes.n_train <= most), MAX_STEPS)
    per_epoch = min(max(sizes.n_planes // 4, STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    n_epochs = max(2, round(n_steps / per_epoch))
    patch_px = min(PATCH_PX, max(MIN_PATCH_PX, sizes.side_px // SIDE_MULTIPLE_PX * SIDE_MULTIPLE_PX))
    few = sizes.n_train < FEW_IMAGES
    recipe = Recipe(
        base=START_FOLDER,
        name=name,
        version=1,
        n_epochs=n_epochs,
        steps_per_epoch=per_epoch,
        patience=n_epochs,
        batch_size=8,
        patch_px=patch_px,
        learning_rate=2e-3,
        encoder_rate_factor=0.3,
        weight_decay=1e-3,
        augmentation=task.augmentation,
        replay_augmentation=task.replay_augmentation,
        replay_share=0.0,
        ema_decay=0.95 if few else 0.99,
        freeze_batch_norm=False,
        keep="last" if sizes.n_validate < FEW_VALIDATION_IMAGES else "best",
    )
    return _apply_overrides(recipe, changes.recipe, "recipe")


def _choose_max_side_px(task: Task, sizes: DataStats) -> int:
    """Objects are counted at the size they have; of organs a smaller picture shows enough."""
    if task.instances:
        return NATIVE_MAX_SIDE_PX
    return HISTOLOGY_MAX_SIDE_PX if sizes.look == "stained" else ORGAN_MAX_SIDE_PX


def _override_architecture(default: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """Change the network; one of another name has options of its own, and its own encoder where none is named."""
    other = {"encoder": "", "options": {}} if changes.get("name", default.name) != default.name else {}
    return _apply_overrides(default, other | dict(changes), "architecture")


def _apply_overrides(model: _Model, changes: Mapping[str, Any], part: str) -> _Model:
    """Return a copy with some keys changed, checked like a new one."""
    try:
        return type(model).model_validate(model.model_dump() | dict(changes))
    except ValidationError as error:
        raise MedSegError(f"the {part} cannot be changed so: {format_validation_error(error)}") from error
