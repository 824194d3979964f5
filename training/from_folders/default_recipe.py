"""Default settings for a first model on a user's images, so that no recipe file is needed. No torch here.

To change some settings, a user writes a small JSON or TOML file that names only these:

    architecture = {name = "deeplabv3plus", encoder = "resnet50"}
    recipe = {loss.terms = "focal_dice", schedule.n_epochs = 25}
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import format_validation_error, parse_json
from napari_medseg.core.model_card import (
    Architecture,
    InstanceSeparation,
    ModelCard,
    PostprocessingStep,
    Preprocessing,
)
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.custom_task import count_input_channels
from training.recipe import (
    AugmentationSettings,
    DataSettings,
    FineTuningSettings,
    OptimiserSettings,
    Recipe,
    RunSettings,
    ScheduleSettings,
    make_fine_tuning_recipe,
    update_recipe,
)
from training.run_folder import START_FOLDER

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

DEFAULT_INSTANCES = InstanceSeparation(levels=[0.0, 0.3, 0.6], marker_depth=0.6, smoothing_px=1.0, min_area_px=30)
_SMALL_UNET = Architecture(
    name="unet",
    encoder="mobilenet_v2",
    in_channels=1,
    classes=2,
    options={"decoder_channels": [128, 64, 48, 32, 16]},
)

_Model = TypeVar("_Model", bound=BaseModel)


class RecipeOverrides(BaseModel):
    """A user's changes to the default settings; each part changes only the keys that it names.

    `weights` is the source of the first encoder weights: ``"imagenet"``, a file (safetensors), a version such as
    ``"my-model@2"``, or ``"none"`` for random weights. Empty: a version with the same network, else the ImageNet
    weights of the encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, Any] = {}
    preprocessing: dict[str, Any] = {}
    postprocessing: list[PostprocessingStep] = []
    recipe: dict[str, Any] = {}
    weights: str = ""

    def matches_network(self, card: ModelCard) -> bool:
        """Whether a version has the requested network."""
        return all(getattr(card.architecture, key, None) == value for key, value in self.architecture.items())

    def makes_other_version(self, card: ModelCard) -> bool:
        """Whether the changes require a new network, so that the version itself cannot continue training."""
        preprocessing = card.preprocessing.model_dump()
        other_preprocessing = preprocessing | self.preprocessing != preprocessing
        other_steps = self.postprocessing not in ([], card.postprocessing)
        return not self.matches_network(card) or other_preprocessing or other_steps or bool(self.weights)

    def complete(self, card: ModelCard) -> Self:
        """Return overrides completed with the settings of the card; another network has its own encoder and options."""
        network = card.architecture.model_dump(include={"name", "encoder", "options"})
        whole = {
            "architecture": network | _add_defaults(self.architecture, card.architecture),
            "preprocessing": card.preprocessing.model_dump() | self.preprocessing,
            "postprocessing": self.postprocessing or card.postprocessing,
        }
        return self.model_copy(update=whole)


NO_OVERRIDES = RecipeOverrides()


class DataStats(BaseModel):
    """Number and size of the training images. `side_px` is the median of the longer side of a plane."""

    model_config = ConfigDict(frozen=True)

    n_train: int
    n_validate: int
    n_planes: int
    side_px: int
    look: str


def read_recipe_overrides(path: Path) -> RecipeOverrides:
    """Read a file of changes, JSON or TOML; raise `MedSegError` naming every unknown or wrong key."""
    try:
        text = read_file(path).decode()
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else parse_json(text)
        return RecipeOverrides.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = format_validation_error(error) if isinstance(error, ValidationError) else str(error)
        raise MedSegError(
            f"{path} is not a valid recipe file: {reason}. Valid keys are {', '.join(RecipeOverrides.model_fields)}."
        ) from error


def add_default_preprocessing(overrides: RecipeOverrides, task: Task, sizes: DataStats) -> RecipeOverrides:
    """Return overrides that also set the largest side of a plane, unless they already set it.

    Instance tasks use the native resolution, because objects are counted. For organs a smaller image is sufficient.
    """
    side_px = HISTOLOGY_MAX_SIDE_PX if sizes.look == "stained" else ORGAN_MAX_SIDE_PX
    preprocessing = {"max_side_px": NATIVE_MAX_SIDE_PX if task.instances else side_px} | overrides.preprocessing
    return overrides.model_copy(update={"preprocessing": preprocessing})


def make_first_card(task: Task, name: str, donor: ModelCard | None, overrides: RecipeOverrides) -> ModelCard:
    """Return the card of a task's first model. Network and preprocessing are those of the donor, or small defaults."""
    network = _SMALL_UNET if donor is None else donor.architecture
    classes = len(DEFAULT_INSTANCES.levels) + 1 if task.instances else task.n_classes
    network = network.model_copy(update={"in_channels": count_input_channels(task), "classes": classes})
    preprocessing = Preprocessing() if donor is None else donor.preprocessing
    return ModelCard(
        name=name,
        version=1,
        task=task.name,
        own_task=None if task.name in TASKS else task,
        architecture=_override_architecture(network, overrides.architecture),
        preprocessing=_apply_overrides(preprocessing, overrides.preprocessing, "preprocessing"),
        postprocessing=overrides.postprocessing,
        instances=DEFAULT_INSTANCES if task.instances else None,
        precision="bf16" if donor is None else donor.precision,
    )


def make_default_recipe(task: Task, name: str, sizes: DataStats, changes: RecipeOverrides) -> Recipe:
    """Return the default recipe for this number and size of images, with the user's changes."""
    n_steps = next((steps for most, steps in STEPS_BY_IMAGES if sizes.n_train <= most), MAX_STEPS)
    per_epoch = min(max(sizes.n_planes // 4, STEPS_PER_EPOCH[0]), STEPS_PER_EPOCH[1])
    n_epochs = max(2, round(n_steps / per_epoch))
    patch_px = min(PATCH_PX, max(MIN_PATCH_PX, sizes.side_px // SIDE_MULTIPLE_PX * SIDE_MULTIPLE_PX))
    few = sizes.n_train < FEW_IMAGES
    recipe = Recipe(
        run=RunSettings(base=START_FOLDER, name=name, version=1),
        data=DataSettings(batch_size=8, patch_px=patch_px),
        augmentation=AugmentationSettings(preset=task.augmentation, replay_preset=task.replay_augmentation),
        optimiser=OptimiserSettings(
            learning_rate=2e-3, encoder_rate_factor=0.3, weight_decay=1e-3, ema_decay=0.95 if few else 0.99
        ),
        schedule=ScheduleSettings(
            n_epochs=n_epochs,
            steps_per_epoch=per_epoch,
            patience=n_epochs,
            keep="last" if sizes.n_validate < FEW_VALIDATION_IMAGES else "best",
        ),
        fine_tuning=FineTuningSettings(replay_share=0.0, freeze_batch_norm=False),
    )
    return update_recipe(recipe, changes.recipe)


def make_first_model_recipe(task: Task, name: str, version: int, budget_s: float | None, seed: int = 0) -> Recipe:
    """Return the recipe for a first model from few cases: as for retraining, but without replay or a parent."""
    fine_tuning = {
        "replay_share": 0.0,
        "distillation": 0.0,
        "average_with_parent": 0.0,
        "freeze_batch_norm": False,  # images differ from the donor's: 8 larynx frames, 40 steps, Dice 0.64, else 0.33
    }
    changes = {
        "optimiser": {"learning_rate": 2e-3},
        "augmentation": {"preset": task.augmentation, "replay_preset": task.replay_augmentation},
        "fine_tuning": fine_tuning,
    }
    return update_recipe(make_fine_tuning_recipe(START_FOLDER, name, version, budget_s, seed), changes)


def _override_architecture(default: Architecture, changes: Mapping[str, Any]) -> Architecture:
    return _apply_overrides(default, _add_defaults(changes, default), "architecture")


def _add_defaults(changes: Mapping[str, Any], before: Architecture) -> dict[str, Any]:
    """Return changes of a network; one of another name gets no options, and its default encoder if none is named."""
    other = {"encoder": "", "options": {}} if changes.get("name", before.name) != before.name else {}
    return other | dict(changes)


def _apply_overrides(model: _Model, changes: Mapping[str, Any], part: str) -> _Model:
    """Return a copy with some keys changed, checked like a new one; raise `MedSegError` naming the `part`."""
    try:
        return type(model).model_validate(model.model_dump() | dict(changes))
    except ValidationError as error:
        raise MedSegError(f"these changes of the {part} are invalid: {format_validation_error(error)}") from error
