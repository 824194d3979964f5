"""The model card: all that is needed to rebuild, preprocess, judge and trace a model, as JSON with no unknown keys."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_medseg.core.custom_task import CustomTask
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.task_definitions import Task, get_task

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
WORST_CASE_FILE = "worst_case.png"
"""What a version's folder holds; the picture of the worst case only where there was a hold-out."""

IMAGENET_WEIGHTS, RANDOM_WEIGHTS = "imagenet", "none"
WEIGHT_SOURCES_TEXT = (
    f'"{IMAGENET_WEIGHTS}", a safetensors file with weights of this encoder, a version that has it (as lungs-unet@3), '
    f'or "{RANDOM_WEIGHTS}" to start from random numbers'
)
"""What an encoder can start from, as recipes name it."""

Scalar = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Frozen):
    """What the network is made of; `name` is a key of `networks.ARCHITECTURES`."""

    name: str
    encoder: str = ""
    in_channels: int = Field(ge=1)
    classes: int = Field(ge=2, description="labels and background")
    options: dict[str, Scalar | list[int]] = {}


class Preprocessing(_Frozen):
    """The numbers of `inference.preprocess.prepare`: the same in window, training and evaluation."""

    hu_low: float = Field(-1000.0, description="HU shown to the network as 0")
    hu_high: float = Field(400.0, description="HU shown to the network as 1")
    percentile_low: float = Field(0.5, ge=0, le=50, description="of a picture without HU, shown as 0")
    percentile_high: float = Field(99.5, ge=50, le=100, description="of a picture without HU, shown as 1")
    mean: float = 0.5
    std: float = Field(0.5, gt=0)
    steps: list[Literal["equalise", "clahe", "smooth"]] = Field([], description="of grey values, in order")
    min_side_px: int = Field(256, ge=32, description="planes with a shorter long side are enlarged to it")
    max_side_px: int = Field(512, ge=32, description="planes with a longer long side are reduced to it")


class PostprocessingStep(_Frozen):
    """One named step of postprocessing with its numbers; the name is a key of `inference.postprocess.STEPS`."""

    name: str
    options: dict[str, Scalar] = {}


class InstanceSeparation(_Frozen):
    """How the classes of a network tell touching objects apart: as levels of depth below an object's border.

    A pixel's depth is its distance from the border of its object as a share of the largest in that object (the
    normalised distance of Hou et al. and of HoVer-Net, here in steps). Class k begins at ``levels[k - 1]``; the last
    class is an object's core, and every object has one of its own.
    """

    levels: list[float] = Field(min_length=2, description="ascending, from 0 to below 1; one for each class but 0")
    marker_depth: float = Field(0.5, gt=0, lt=1, description="expected depth at which a core begins")
    smoothing_px: float = Field(1.0, ge=0, description="of the depth, before cores are found")
    min_area_px: int = Field(10, ge=0, description="smaller objects are dropped")


class RegionOfInterest(_Frozen):
    """Where a model looks: in the labels of another task, found first. Outside of them it labels nothing."""

    task: str
    margin: float = Field(0.06, ge=0, description="added on each side, as a share of the field's longer side")
    keep_within_mm: float = Field(
        6.0, ge=0, description="labels farther off are dropped; a pixel of unknown size is 1 mm"
    )


class DataSource(_Frozen):
    """Images that a model learnt from."""

    name: str
    n_images: int
    groups: int = Field(description="patients, slides or videos")
    labels: str = Field(description="who made them and how")
    licence: str


class Score(_Frozen):
    """One hold-out figure: on which images, how many, against whose labels."""

    dataset: str
    metric: str = "Dice"
    n_images: int
    n_groups: int
    mean: float
    worst: float
    ci_low: float = Field(description="95 % bootstrap interval of the mean over images, lower end")
    ci_high: float
    per_label: dict[str, float] = {}
    swapped_sides: int = Field(0, description="images in which right and left were exchanged")
    labels_by: str


class Calibration(_Frozen):
    """How far the model's probabilities can be believed, over pixels that it or the reference labels."""

    temperature: float = Field(1.0, gt=0, description="logits are divided by it; fitted on validation images")
    ece: float | None = Field(None, description="expected calibration error on the hold-out with it, 15 bins")
    ece_uncorrected: float | None = Field(None, description="the same without it")
    n_images: int = Field(0, description="of the hold-out")


class Lineage(_Frozen):
    """Where a version comes from."""

    parent: str | None = None
    began_with: str = Field("", description="without a parent: what its weights began as")
    run: str = ""
    snapshot_sha256: str = ""
    n_corrections: int = 0
    seed: int = 0
    code_version: str = ""
    created: str = ""
    promotion_reason: str = Field("", description="typed by the person who promoted a version that is not better")


class ModelCard(_Frozen):
    """One version of a model. Immutable, but for `lineage.promotion_reason`, which the registry keeps beside it."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: int = Field(ge=1)
    task: str
    own_task: CustomTask | None = Field(None, description="the task in full, where it is not one of the program's own")
    architecture: Architecture
    preprocessing: Preprocessing
    field: RegionOfInterest | None = None
    instances: InstanceSeparation | None = None
    postprocessing: list[PostprocessingStep] = []
    precision: Literal["fp32", "bf16"] = Field("bf16", description="on the CPU and on a GPU that has it")
    training_data: list[DataSource] = []
    hold_out: list[Score] = []
    calibration: Calibration = Calibration()
    weaknesses: list[str] = []
    lineage: Lineage = Lineage()
    licence: str = ""
    weights_sha256: str = ""

    @property
    def id(self) -> str:
        """Written like ``lungs-unet@3``."""
        return f"{self.name}@{self.version}"

    @property
    def task_definition(self) -> Task:
        """The task in full; raises `MedSegError` where the program has none of that name and the card brings none."""
        return self.own_task or get_task(self.task)

    @model_validator(mode="after")
    def _check_custom_task_name(self) -> "ModelCard":
        if self.own_task is not None and self.own_task.name != self.task:
            raise ValueError(f"the card is for task {self.task!r}, but brings {self.own_task.name!r}")
        return self


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises
    ------
    MedSegError
        If the file is missing, is no JSON, or has unknown or missing keys; the text names them.
    """
    if not path.exists():
        raise MedSegError(f"cannot read the model card {path.name}: {path.parent} has none. Re-install the model.")
    return read_json_model(path, ModelCard, "is no valid model card", "Use one that this program wrote.")


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as indented JSON."""
    path.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
