"""Training recipes as data. No torch here, because the window and the command line read and write recipes too.

A recipe has groups, for example `recipe.optimiser.learning_rate`. Older recipes are a flat table with keys such as
`learning_rate`; these keys are read as well: see `training.recipe_keys`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import format_validation_error, read_json_model
from napari_medseg.core.model_card import PostprocessingStep
from training.losses.terms import LossSettings
from training.recipe_keys import find_keys, list_stages, merge_keys, name_as_written, nest_keys

KEEP_PATTERN = "^(best|last|cycles|cycle_average|cycle_ensemble)$"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PasteSettings(_Settings):
    """Which labelled regions are pasted from one image into another; see `training.augmentation.copy_paste`."""

    share: float = Field(0.0, ge=0, le=1, description="share of new patches with a pasted region")
    sources: tuple[str, ...] = Field((), description="sources of the pasted regions; empty: all")
    onto: tuple[str, ...] = Field((), description="sources of the images that they are pasted onto; empty: all")
    region: str = Field(
        "labels",
        pattern="^(labels|hull)$",
        description="the labelled pixels, or their convex hull: both lungs with all that is between them",
    )
    place: str = Field(
        "same", pattern="^(same|labels)$", description="at the same relative place, or fitted to the same labels"
    )


class UnlabelledSettings(_Settings):
    """How a run learns from images without labels, if it has any; see `training.losses.consistency`."""

    batch_size: int = Field(4, ge=1, description="unlabelled patches per step, beside data.batch_size")
    weight: float = Field(1.0, gt=0, description="weight of their loss, after the ramp")
    ramp: float = Field(0.3, ge=0, le=1, description="share of the run in which this weight rises from 0")
    threshold: float = Field(
        0.95, gt=0, lt=1, description="probability that a class needs to become the label of a pixel"
    )
    strength: float = Field(1.0, gt=0, description="of the strong view, as augmentation.strength")
    cutmix_share: float = Field(0.5, ge=0, le=1, description="share of strong views with a part of another one")
    max_images: int = Field(500, ge=1, description="images that are kept in memory, evenly chosen")


class DataSettings(_Settings):
    """How batches are sampled from the images."""

    batch_size: int = Field(8, ge=1)
    patch_px: int = Field(256, ge=64, description="side of the square that is cut from a plane")
    sampling: str = Field(
        "random",
        pattern="^(random|windows)$",
        description="windows: each window once per pass, in a seeded random order",
    )
    window_overlap_px: int = Field(0, ge=0, description="minimum overlap of neighbouring windows of patch_px")
    foreground_share: float = Field(
        0.0, ge=0, le=1, description="share of new patches with a labelled centre, each class in turn"
    )
    label_steps: tuple[PostprocessingStep, ...] = Field(
        (), description="steps of training.data.label_transforms; not applied to the hold-out"
    )
    paste: PasteSettings = PasteSettings()
    unlabelled: UnlabelledSettings = UnlabelledSettings()


class AugmentationSettings(_Settings):
    """How patches are augmented."""

    preset: str = Field("ct", description="a key of training.augmentation.presets.AUGMENTATIONS")
    replay_preset: str = Field("replay", description="the same for replayed older data")
    strength: float = Field(1.0, ge=0, description="scales all ranges of both; 0 changes nothing")


class OptimiserSettings(_Settings):
    """How one step changes the weights."""

    name: str = Field("adamw", description="a key of training.optimisers.OPTIMISERS")
    learning_rate: float = Field(1e-3, gt=0)
    encoder_rate_factor: float = Field(0.3, ge=0, description="the encoder's learning rate, as a share; 0 freezes it")
    weight_decay: float = Field(1e-4, ge=0)
    max_gradient_norm: float = Field(5.0, gt=0, description="gradients are clipped to this norm")
    accumulate: int = Field(1, ge=1, description="batches per step; the step is the same as with one large batch")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the moving average of the weights; 0 keeps none")


class ScheduleSettings(_Settings):
    """How long a run trains, how its learning rate changes, and which weights are kept."""

    name: str = Field("cosine", description="a key of training.schedule.SCHEDULES")
    n_epochs: int = Field(20, ge=1)
    steps_per_epoch: int = Field(16, ge=1)
    n_cycles: int = Field(1, ge=1, description="how often the schedule is repeated; cosine: warm restarts")
    patience: int = Field(100, ge=1, description="epochs without a better validation Dice before it stops")
    keep: str = Field(
        "best",
        pattern=KEEP_PATTERN,
        description="best or last epoch (with few validation images the best one is unreliable); cycles: the best of "
        "the weights at the ends of cycles, their average and their ensemble; cycle_average or cycle_ensemble: always "
        "this one",
    )
    stage_start: str = Field(
        "best", pattern="^(best|last)$", description="which weights of the previous stage to start from"
    )


class FineTuningSettings(_Settings):
    """What keeps a retrained version close to the one that it starts from, its parent."""

    replay_share: float = Field(0.5, ge=0, lt=1, description="share of a batch drawn from replayed older data")
    distillation: float = Field(
        0.0, ge=0, description="weight of the distance to the parent's predictions on replayed data"
    )
    average_with_parent: float = Field(0.0, ge=0, le=1, description="weight of the parent in the averaged result")
    freeze_batch_norm: bool = True
    freeze_encoder_stages: int = Field(0, ge=0, description="number of first encoder stages that are frozen")
    low_rank: int = Field(0, ge=0, description="rank of the change of each kernel (LoRA); 0: full rank")


class RunSettings(_Settings):
    """Versions before and after a run, and settings of its process."""

    base: str = Field(description="folder of the version to start from (card.json, model.safetensors)")
    compare_with: str = Field(
        "", description="folder of the version that the result has to beat; empty: that of `base`"
    )
    roi_model: str = Field("", description="folder of the version that finds the region of interest, if there is one")
    name: str = Field(description="model name of the result, for example lungs-unet")
    version: int = Field(1, ge=1, description="version of the result")
    budget_s: float | None = Field(None, gt=0, description="seconds for the whole run, including the comparison")
    seed: int = 0
    device: str = Field("", description="cpu, cuda, cuda:1 or mps; empty: the fastest one that computes")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; None: all")
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")
    checkpoint_every_s: float = Field(300.0, gt=0, description="seconds; a checkpoint is also written after each epoch")
    checkpoint_every_steps: int | None = Field(None, ge=1)
    tensorboard: bool = Field(False, description="also write TensorBoard curves into the run folder")


STAGE_RUN_SETTINGS = ("precision", "checkpoint_every_s", "checkpoint_every_steps")
RUN_LEVEL_SETTINGS = frozenset(
    [("stages",), ("schedule", "keep"), ("data", "label_steps"), ("data", "unlabelled")]
    + [("run", field) for field in RunSettings.model_fields if field not in STAGE_RUN_SETTINGS]
)
"""Settings that a stage cannot change."""


class Recipe(_Settings):
    """All settings of a run except its data. On a CPU, the same recipe, snapshot and seed give the same result."""

    run: RunSettings
    data: DataSettings = DataSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    loss: LossSettings = LossSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    stages: tuple[dict[str, Any], ...] = Field((), description="changes to these groups, one stage after the other")

    @property
    def keeps_cycles(self) -> bool:
        """Whether the weights at the end of each cycle are kept, for a snapshot ensemble, its average or its best."""
        return self.schedule.keep.startswith("cycle")

    @property
    def n_members(self) -> int:
        """Maximum number of networks in the version: the number of cycles whose weights are kept, else one."""
        return sum(stage.schedule.n_cycles for stage in self.resolve_stages() if stage.keeps_cycles) or 1

    def find_roi_folder(self, run_dir: Path) -> Path | None:
        """Folder of the version that finds the region of interest; `None` if the model uses the whole image."""
        return run_dir / self.run.roi_model if self.run.roi_model else None

    def resolve_stages(self) -> tuple["Recipe", ...]:
        """Return one recipe for each stage; the recipe itself if it has no stages."""
        whole = self.model_dump(exclude={"stages"})
        resolved = [merge_keys(whole, stage) for stage in self.stages]
        for one in resolved:
            if self.keeps_cycles and one["schedule"]["n_cycles"] == 1:
                one["schedule"]["keep"] = "best"
        return tuple(Recipe.model_validate(one) for one in resolved) or (self,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        stages = self.resolve_stages()
        if any(stage.schedule.n_cycles > stage.schedule.n_epochs * stage.schedule.steps_per_epoch for stage in stages):
            raise ValueError("there are more cycles than steps; decrease n_cycles or increase n_epochs")
        if self.keeps_cycles and self.n_members == 1:
            raise ValueError(
                f"keep {self.schedule.keep!r} needs cycles; set n_cycles to 2 or more, in a stage or for all"
            )
        if self.data.window_overlap_px >= self.data.patch_px:
            raise ValueError(f"windows of {self.data.patch_px} px cannot overlap by {self.data.window_overlap_px} px")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _read_keys(cls, written: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(written, Mapping):
            return validate(written)
        for number, stage in enumerate(list_stages(written), start=1):
            if fixed := sorted(find_keys(stage, RUN_LEVEL_SETTINGS)):
                raise ValueError(
                    f"stage {number} changes {fixed}, which hold for the whole run; move them out of the stage"
                )
        try:
            return validate({"run": {}, **nest_keys(written)})
        except ValidationError as error:
            raise name_as_written(error, written) from None


def read_recipe(path: Path) -> Recipe:
    """Read `recipe.json`; raise `MedSegError` naming every unknown or wrong key."""
    return read_json_model(path, Recipe, "is not a valid recipe", "A run folder needs a valid recipe.json.")


def update_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a copy with some settings changed, by groups or by flat keys.

    Raises
    ------
    MedSegError
        If a key is unknown or its value is wrong; the text names all of them.
    """
    try:
        return Recipe.model_validate(merge_keys(recipe.model_dump(), changes))
    except ValidationError as error:
        named = name_as_written(error, changes)
        raise MedSegError(f"these changes of the recipe are invalid: {format_validation_error(named)}") from error


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as indented JSON."""
    path.write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")


def make_fine_tuning_recipe(base: str, name: str, version: int, budget_s: float | None, seed: int = 0) -> Recipe:
    """Return the recipe of *Retrain on corrections*; `benchmarks/corrections.py` measured its settings.

    Parameters
    ----------
    base
        Folder of the version to start from.
    name, version
        Name and version of the result.
    budget_s
        Seconds for the whole run. `None`: the number of epochs ends the run.
    seed
        On a CPU, the same seed, corrections and base give the same result if the budget ends at the same step.
    """
    return Recipe(
        run=RunSettings(base=base, name=name, version=version, budget_s=budget_s, seed=seed),
        data=DataSettings(batch_size=8, patch_px=256),
        augmentation=AugmentationSettings(preset="gentle"),
        optimiser=OptimiserSettings(learning_rate=1e-3, encoder_rate_factor=0.3, ema_decay=0.9),
        schedule=ScheduleSettings(n_epochs=500, steps_per_epoch=10, patience=500),
        fine_tuning=FineTuningSettings(
            replay_share=0.5, distillation=2.0, average_with_parent=0.5, freeze_batch_norm=True
        ),
    )
