"""The model card: all data to rebuild, preprocess, evaluate and trace a model, as JSON without unknown keys."""

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_medseg.core.atomic_io import compute_file_sha256, sync_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.project.file_state import KeptContent
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task, get_task
from napari_medseg.core.tasks.custom_task import CustomTask

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.safetensors"
WORST_CASE_FILE = "worst_case.png"
DOMAIN_FILE = "out_of_domain.safetensors"
OPTIONAL_FILES = (WORST_CASE_FILE, DOMAIN_FILE)
"""The files in a version's folder. The figure of the worst case exists only if there was a hold-out, and the statistics
of the training images only if the card has a `DomainCheck`."""

IMAGENET_WEIGHTS, RANDOM_WEIGHTS = "imagenet", "none"
WEIGHT_SOURCES_TEXT = (
    f'"{IMAGENET_WEIGHTS}", a safetensors file with weights of this encoder, a version with this encoder (such as '
    f'lungs-unet@4), or "{RANDOM_WEIGHTS}" for random weights'
)
"""The possible start weights of an encoder, as in recipes."""

Scalar = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Frozen):
    """Architecture of the network; `name` is a key of `networks.ARCHITECTURES`."""

    name: str
    encoder: str = ""
    in_channels: int = Field(ge=1, le=1024, description="at most as many: the first layer grows with it")
    classes: int = Field(ge=2, description="labels and background")
    options: dict[str, Scalar | list[int]] = {}


class Preprocessing(_Frozen):
    """The numbers of `inference.preprocess.prepare`: the same in window, training and evaluation."""

    hu_low: float = Field(-1000.0, description="HU shown to the network as 0")
    hu_high: float = Field(400.0, description="HU shown to the network as 1")
    percentile_low: float = Field(0.5, ge=0, le=50, description="of an image without HU, shown as 0")
    percentile_high: float = Field(99.5, ge=50, le=100, description="of an image without HU, shown as 1")
    mean: float = 0.5
    std: float = Field(0.5, gt=0)
    steps: list[Literal["equalise", "clahe", "smooth"]] = Field([], description="of grey values, in order")
    min_side_px: int = Field(256, ge=32, le=8192, description="planes with a shorter long side are enlarged to it")
    max_side_px: int = Field(512, ge=32, description="planes with a longer long side are reduced to it")


class PostprocessingStep(_Frozen):
    """One step of postprocessing with its options; `name` is in `inference.postprocess.POSTPROCESSING_STEPS`."""

    name: str
    options: dict[str, Scalar] = {}


class InstanceSeparation(_Frozen):
    """How the classes of a network separate touching objects: the classes are levels of depth inside an object.

    The depth of a pixel is its distance from the border of its object, divided by the largest distance in that object
    (the normalised distance of Hou et al. and of HoVer-Net, here in steps). Class k begins at ``levels[k - 1]``; the
    last class is the core of an object.
    """

    levels: list[float] = Field(min_length=2, description="ascending, from 0 to below 1; one for each class but 0")
    marker_depth: float = Field(0.5, gt=0, lt=1, description="expected depth at which a core begins")
    smoothing_px: float = Field(1.0, ge=0, description="of the depth, before cores are found")
    min_area_px: int = Field(10, ge=0, description="smaller objects are dropped")


class RegionOfInterest(_Frozen):
    """The region in which a model predicts: the labels of another task, predicted first. The rest is background."""

    task: str
    margin: float = Field(0.06, ge=0, description="added on each side, as a share of the longer side of the ROI")
    keep_within_mm: float = Field(
        6.0, ge=0, description="labels farther from the ROI are dropped; without spacing, 1 px is 1 mm"
    )


class DataSource(_Frozen):
    """Images that a model was trained on."""

    name: str
    n_images: int
    groups: int = Field(description="patients, slides or videos")
    labels: str = Field(description="who made them and how")
    licence: str


class Score(_Frozen):
    """One hold-out score: data set, number of images and groups, and who made the reference labels."""

    dataset: str
    metric: str = "Dice"
    n_images: int
    n_groups: int
    mean: float
    worst: float
    ci_low: float = Field(description="95 % bootstrap interval of the mean over images, lower end")
    ci_high: float
    per_label: dict[str, float] = {}
    does_not_occur: list[str] = Field([], description="labels that occur in no reference; they have no score")
    swapped_sides: int = Field(0, description="number of images with right and left exchanged")
    labels_by: str


class Calibration(_Frozen):
    """Calibration of the model's probabilities.

    Cards written before `pixels` existed are read as ``"labelled"``: the reference chose their pixels, with all errors
    but few of the correct background pixels. Such a temperature is too high, and is not applied.
    """

    temperature: float = Field(1.0, gt=0, description="logits are divided by it; fitted on validation images")
    ece: float | None = Field(None, description="expected calibration error on the hold-out with it, 15 bins")
    ece_uncorrected: float | None = Field(None, description="the same without the temperature")
    ece_by_source: dict[str, float] = Field({}, description="with the temperature, on the hold-out of each source")
    n_images: int = Field(0, description="number of hold-out images")
    pixels: Literal["all", "labelled"] = Field(
        "all", description="measured over all pixels, or over those that the model or the reference labels"
    )

    @property
    def applied_temperature(self) -> float:
        """The temperature, or 1 if it was fitted on pixels that the reference chose."""
        return self.temperature if self.pixels == "all" else 1.0


class DomainCheck(_Frozen):
    """How images that are unlike the training images are recognised; the statistics are in `DOMAIN_FILE`."""

    statistics_sha256: str
    threshold: float = Field(
        1.0, gt=0, description="distance above which an image is unlike the training images; 1: see known_share"
    )
    n_planes: int = Field(0, description="planes of training and validation images that the statistics describe")
    known_share: float = Field(
        0.0, ge=0, le=1, description="share of them within distance 1, each measured without its own group"
    )


class Lineage(_Frozen):
    """Origin of a version."""

    parent: str | None = None
    began_with: str = Field("", description="start weights of a version without a parent")
    run: str = ""
    snapshot_sha256: str = ""
    n_corrections: int = 0
    seed: int = 0
    code_version: str = ""
    created: str = ""
    promotion_reason: str = Field("", description="given by the person who promoted a version that is not better")


class ModelCard(_Frozen):
    """One version of a model. Immutable, except `lineage.promotion_reason`, which the registry stores separately."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: int = Field(ge=1)
    task: str
    own_task: CustomTask | None = Field(None, description="definition of a custom task")
    architecture: Architecture
    preprocessing: Preprocessing
    field: RegionOfInterest | None = None
    instances: InstanceSeparation | None = None
    postprocessing: list[PostprocessingStep] = []
    um_per_px: float | None = Field(None, gt=0, description="micrometres per pixel of the training images, if known")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="on devices that support it, else fp32")
    training_data: list[DataSource] = []
    hold_out: list[Score] = []
    calibration: Calibration = Calibration()
    domain: DomainCheck | None = Field(None, description="none on the cards of older versions")
    weaknesses: list[str] = []
    amendments: list[str] = Field([], description="what was corrected on the card after its publication, and when")
    lineage: Lineage = Lineage()
    licence: str = ""
    weights_sha256: str = ""

    @property
    def id(self) -> str:
        """Name and version, such as ``lungs-unet@4``."""
        return f"{self.name}@{self.version}"

    def add_promotion_reason(self, reason: str) -> "ModelCard":
        """Return the card with the reason why the version was promoted although it was not better; empty: unchanged."""
        if not reason:
            return self
        return self.model_copy(update={"lineage": self.lineage.model_copy(update={"promotion_reason": reason})})

    @property
    def task_definition(self) -> Task:
        """The task; raises `MedSegError` if it is not built-in and the card does not define it."""
        return self.own_task or get_task(self.task)

    @property
    def is_of_default_family(self) -> bool:
        """Whether the task names this family as its default; False for a task that is not known here."""
        task = self.own_task or TASKS.get(self.task)
        return task is not None and task.default_model == self.name

    @model_validator(mode="before")
    @classmethod
    def _mark_old_calibration(cls, fields: object) -> object:
        """Mark the calibration of a card that was written before `Calibration.pixels` existed."""
        calibration = fields.get("calibration") if isinstance(fields, dict) else None
        if not isinstance(fields, dict) or not isinstance(calibration, dict) or "pixels" in calibration:
            return fields
        is_measured = calibration.get("ece") is not None or calibration.get("temperature", 1.0) != 1.0
        pixels = "labelled" if is_measured else "all"
        return {**fields, "calibration": {**calibration, "pixels": pixels}}

    @model_validator(mode="after")
    def _check_custom_task_name(self) -> "ModelCard":
        if self.own_task is not None and self.own_task.name != self.task:
            raise ValueError(f"the card is for task {self.task!r}, but defines {self.own_task.name!r}")
        return self


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises
    ------
    MedSegError
        If the file is missing, is not JSON, or has unknown or missing keys; the text names them.
    """
    if not path.exists():
        raise MedSegError(f"cannot read the model card {path.name}: {path.parent} has none. Re-install the model.")
    return read_json_model(path, ModelCard, "is not a valid model card", "Use a card that this program wrote.")


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as indented JSON."""
    path.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def check_version_folder(card: ModelCard, folder: Path) -> None:
    """Raise `MedSegError` if the files in a folder are not those of `card`, or nothing describes its task."""
    statistics = [(DOMAIN_FILE, "statistics", card.domain.statistics_sha256)] if card.domain else []
    for name, what, sha256 in [(WEIGHTS_FILE, "weights", card.weights_sha256), *statistics]:
        if not (folder / name).is_file():
            raise MedSegError(f"{folder} has no {name}. Train again; the run did not end with a model.")
        if compute_file_sha256(folder / name) != sha256:
            raise MedSegError(f"the {what} in {folder} do not match the card {card.id}: they are damaged. Train again.")
    if card.task not in TASKS and card.own_task is None:
        raise MedSegError(f"{card.id} is for the task {card.task!r}, which its card does not describe. Train again.")


def copy_version(card: ModelCard, folder: Path, target: Path, more_files: Sequence[str] = ()) -> None:
    """Copy the weights in a folder and, where they exist, `OPTIONAL_FILES` and `more_files`; write `card`."""
    target.mkdir(parents=True)
    copied = [WEIGHTS_FILE, *(name for name in (*OPTIONAL_FILES, *more_files) if (folder / name).exists())]
    for name in copied:
        shutil.copyfile(folder / name, target / name)
    write_card(card, target / CARD_FILE)
    for name in (*copied, CARD_FILE):
        sync_file(target / name)


class CardReader:
    """Reads cards, each once until its file changes: the window asks for all of them at every change of case."""

    def __init__(self) -> None:
        self._kept: defaultdict[Path, KeptContent[ModelCard]] = defaultdict(KeptContent)

    def read(self, path: Path) -> ModelCard:
        """Return the card of a file; raises like `read_card`."""
        return self._kept[path].read([path], lambda: read_card(path))

    def find(self, folder: Path) -> list[str]:
        """List where the cards of all versions in a folder are, ``<name>/<version>/card.json``, sorted.

        Folders whose name begins with a dot are being written. Paths are text: hundreds of `Path` take a millisecond.
        """
        families = [os.path.join(folder, name) for name in _list_folder(folder) if not name.startswith(".")]
        return [os.path.join(family, version, CARD_FILE) for family in families for version in _list_folder(family)]


def _list_folder(folder: Path | str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
