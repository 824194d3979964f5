"""How to train, as data. No torch here: the window and the command line read and write recipes too."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import PostprocessingStep

WEIGHT_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "rising": lambda progress: min(1.0, max(0.0, progress)),
    "falling": lambda progress: 1.0 - min(1.0, max(0.0, progress)),
}
"""Factor of a term's weight by the share of the run that is over, in [0, 1]."""


class LossTerm(BaseModel):
    """One term of a weighted sum.

    `name` is a key of `training.losses.losses.LOSSES`, `options` are numbers of that loss. The weight is fixed, follows
    a schedule of `WEIGHT_SCHEDULES`, or is `trainable`: it starts as `weight` and is learnt with the network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: float = Field(1.0, gt=0)
    schedule: Literal["constant", "rising", "falling"] = "constant"
    trainable: bool = False
    options: dict[str, float] = {}

    @model_validator(mode="after")
    def _check_weight_change(self) -> Self:
        if self.trainable and self.schedule != "constant":
            raise ValueError(f"the weight of {self.name!r} is trainable, so it has no schedule; leave out one of them")
        return self

    def compute_weight(self, progress: float) -> float:
        """Weight at a share of the run, in [0, 1]; of a trainable term the one that it starts with."""
        return self.weight * WEIGHT_SCHEDULES[self.schedule](progress)


KEEP_PATTERN = "^(best|last|cycles|cycle_average|cycle_ensemble)$"
RUN_LEVEL_KEYS = frozenset(
    (
        "base",
        "budget_s",
        "compare_with",
        "field_base",
        "keep",
        "label_steps",
        "n_threads",
        "name",
        "seed",
        "stages",
        "tensorboard",
        "version",
    )
)
"""Keys that a stage cannot change."""


class Recipe(BaseModel):
    """Everything that decides a run but its data. Same recipe, snapshot and seed: same result on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="folder of the version to start from (card.json, model.safetensors)")
    field_base: str = Field("", description="folder of the version that finds the field, if the model looks into one")
    compare_with: str = Field(
        "", description="folder of the version that the result has to beat; that of `base` where it is empty"
    )
    name: str = Field(description="model name of the result, as in lungs-unet")
    version: int = Field(1, ge=1, description="version of the result")
    n_epochs: int = Field(20, ge=1)
    steps_per_epoch: int = Field(16, ge=1)
    budget_s: float | None = Field(None, gt=0, description="seconds for the whole run, comparison included")
    batch_size: int = Field(8, ge=1)
    patch_px: int = Field(256, ge=64, description="side of the square that is cut from a plane")
    learning_rate: float = Field(1e-3, gt=0)
    encoder_rate_factor: float = Field(0.3, ge=0, description="the encoder's learning rate, as a share; 0 freezes it")
    weight_decay: float = Field(1e-4, ge=0)
    loss: str | Annotated[tuple[LossTerm, ...], Field(min_length=1)] = Field(
        "cross_entropy_dice", description="a key of training.losses.losses.LOSSES, or terms of a weighted sum"
    )
    class_weights: str = Field(
        "none", pattern="^(none|inverse_frequency)$", description="of the terms that average over pixels"
    )
    foreground_share: float = Field(
        0.0, ge=0, le=1, description="share of new patches whose centre is labelled, each class in turn"
    )
    augmentation: str = Field("ct", description="a key of training.augmentation.presets.AUGMENTATIONS")
    replay_augmentation: str = Field("replay", description="the same for replayed older data")
    augmentation_strength: float = Field(1.0, ge=0, description="scales all ranges of both; 0 changes nothing")
    sampling: str = Field(
        "random", pattern="^(random|windows)$", description="windows: each once in a pass, in a seeded order"
    )
    window_overlap_px: int = Field(0, ge=0, description="least overlap of neighbouring windows of patch_px")
    label_steps: tuple[PostprocessingStep, ...] = Field(
        (), description="keys of training.data.label_transforms; not for the hold-out"
    )
    schedule: str = Field("cosine", description="a key of training.schedule.SCHEDULES")
    replay_share: float = Field(0.5, ge=0, lt=1, description="share of a batch drawn from replayed older data")
    distillation: float = Field(
        0.0, ge=0, description="weight of staying close to the parent's answers on replayed data"
    )
    average_with_parent: float = Field(0.0, ge=0, le=1, description="weight of the parent in the averaged result")
    ema_decay: float = Field(0.0, ge=0, lt=1)
    freeze_batch_norm: bool = True
    keep: str = Field(
        "best",
        pattern=KEEP_PATTERN,
        description="best or last epoch: few validation images choose badly; cycles: whichever validates best "
        "of the weights at the cycles' ends, their average and their ensemble; cycle_average, cycle_ensemble: that one",
    )
    patience: int = Field(100, ge=1, description="epochs without a better validation Dice before it stops")
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")
    n_cycles: int = Field(1, ge=1, description="how often the schedule is gone through; cosine: warm restarts")
    stages: tuple[dict[str, Any], ...] = Field((), description="changes to these keys, for one stage after the other")
    stage_start: str = Field("best", pattern="^(best|last)$", description="weights of the stage before to start from")
    optimiser: str = Field("adamw", description="a key of training.optimisers.OPTIMISERS")
    max_gradient_norm: float = Field(5.0, gt=0, description="longer gradients are shortened to it")
    accumulate: int = Field(1, ge=1, description="batches that one step learns from, as if from one so large")
    freeze_encoder_stages: int = Field(0, ge=0, description="stages of the encoder, from the image on, that stay")
    low_rank: int = Field(0, ge=0, description="rank of the change of each kernel (LoRA); 0 changes kernels freely")
    checkpoint_every_s: float = Field(300.0, gt=0, description="seconds, besides the end of each epoch")
    checkpoint_every_steps: int | None = Field(None, ge=1)
    tensorboard: bool = Field(False, description="write curves for TensorBoard too, into the run folder")
    seed: int = 0
    n_threads: int | None = Field(None, ge=1, description="CPU threads; all where None")

    @property
    def keeps_cycles(self) -> bool:
        """Whether the weights at the end of each cycle are kept: a snapshot ensemble, or its average or best."""
        return self.keep.startswith("cycle")

    @property
    def n_members(self) -> int:
        """How many networks the version may consist of: as many as cycles whose weights are kept, else one."""
        return sum(stage.n_cycles for stage in self.resolve_stages() if stage.keeps_cycles) or 1

    def find_roi_folder(self, run_dir: Path) -> Path | None:
        """Folder of the version that finds the region of interest; `None` where the model looks everywhere."""
        return run_dir / self.field_base if self.field_base else None

    def resolve_stages(self) -> tuple["Recipe", ...]:
        """Return one recipe for each stage; the recipe itself where it has none."""
        whole = self.model_dump(exclude={"stages"})
        resolved = [{**whole, **stage} for stage in self.stages]
        for one in resolved:
            if self.keeps_cycles and one["n_cycles"] == 1:
                one["keep"] = "best"
        return tuple(Recipe.model_validate(one) for one in resolved) or (self,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, stage in enumerate(self.stages, start=1):
            if fixed := sorted(RUN_LEVEL_KEYS & stage.keys()):
                raise ValueError(f"stage {number} changes {fixed}, which hold for the whole run; move them out of it")
        if any(recipe.n_cycles > recipe.n_epochs * recipe.steps_per_epoch for recipe in self.resolve_stages()):
            raise ValueError("there are more cycles than steps; lower n_cycles or raise n_epochs")
        if self.keeps_cycles and self.n_members == 1:
            raise ValueError(f"keep {self.keep!r} needs cycles; set n_cycles to 2 or more, in a stage or for all")
        if self.window_overlap_px >= self.patch_px:
            raise ValueError(f"windows of {self.patch_px} px cannot overlap by {self.window_overlap_px} px")
        return self


def read_recipe(path: Path) -> Recipe:
    """Read `recipe.json`; raise `MedSegError` naming every unknown or wrong key."""
    try:
        return Recipe.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MedSegError(f"cannot read {path}: {error.strerror}. A run folder needs recipe.json.") from error
    except ValidationError as error:
        raise MedSegError(f"{path.name} is not a valid recipe: {_format_errors(error)}") from error


def update_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a copy with some keys changed; raise `MedSegError` naming every unknown or wrong key."""
    try:
        return Recipe.model_validate(recipe.model_dump() | dict(changes))
    except ValidationError as error:
        raise MedSegError(f"the recipe cannot be changed so: {_format_errors(error)}") from error


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as indented JSON."""
    path.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")


def make_fine_tuning_recipe(base: str, name: str, version: int, budget_s: float | None, seed: int = 0) -> Recipe:
    """Return the recipe of *Retrain on corrections*; its numbers are those that `benchmarks/corrections.py` measured.

    Parameters
    ----------
    base
        Folder of the version to start from.
    name, version
        Of the result.
    budget_s
        Seconds for the whole run; the number of epochs is no limit. `None` where epochs are to end it.
    seed
        Same seed, corrections and base: same result on a CPU, where the budget ends both runs at the same step.
    """
    return Recipe(
        base=base,
        name=name,
        version=version,
        budget_s=budget_s,
        seed=seed,
        n_epochs=500,
        steps_per_epoch=10,
        patience=500,
        batch_size=8,
        patch_px=256,
        learning_rate=1e-3,
        encoder_rate_factor=0.3,
        augmentation="gentle",
        replay_share=0.5,
        distillation=2.0,
        average_with_parent=0.5,
        ema_decay=0.9,
        freeze_batch_norm=True,
    )


def _format_errors(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
