"""The built-in tasks. A task is data: no other code depends on a task's name.

Custom tasks are in `core.tasks.custom_task`; all tasks of a project or registry are in `core.tasks.catalog`.
"""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from napari_medseg.core.errors import look_up


@dataclass(frozen=True)
class Label:
    """One label of a task: its value in the array, its name, and its colour (Okabe-Ito palette, colour-blind safe)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class AcquisitionLimit:
    """What rules an image out although its modality fits.

    Parameters
    ----------
    modalities
        Modalities for which this holds.
    body_regions
        Keys of `core.tasks.body_regions.BODY_REGIONS` that fit; empty for any. An unknown region rules nothing out.
    excluded_views
        Views of `core.acquisition.View` that do not fit.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    modalities: tuple[str, ...]
    body_regions: tuple[str, ...] = ()
    excluded_views: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """What is to be segmented; constant.

    Parameters
    ----------
    name, title
        Name in code and files; text in the window.
    labels
        Labels without background (0). A task with instances has one label for all objects.
    axes
        Axes of the images that it accepts.
    modalities
        DICOM modalities of the images that it is meant for, such as ``"CT"``. Images of others are ruled out.
    limits
        Body regions and views that the images of a modality must have, or must not have.
    looks
        Looks of its images if the modality is unknown, as returned by `core.tasks.detection.detect_look`.
    display_window
        Centre and width, in HU, of the display window of a CT.
    sides
        Label values of the patient's right and left side, if the task has sides.
    instances
        Whether each object has its own value: then values are object numbers, not labels.
    field
        Name of the task whose labels are the region of interest of this task, such as lungs for lesions.
    default_model
        Name of the default model family.
    augmentation, replay_augmentation
        Keys of `training.augmentation.presets.AUGMENTATIONS`, for corrections and for replayed images.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    title: str
    labels: tuple[Label, ...]
    axes: tuple[str, ...]
    modalities: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    display_window: tuple[float, float] | None = None
    sides: tuple[int, int] | None = None
    instances: bool = False
    field: str = ""
    default_model: str = ""
    augmentation: str = "gentle"
    replay_augmentation: str = "replay"
    limits: tuple[AcquisitionLimit, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes: labels and background."""
        return max(label.value for label in self.labels) + 1

    @property
    def largest_value(self) -> int:
        """Largest allowed value in a label array: a label value or an object number."""
        return LARGEST_INSTANCE if self.instances else self.n_classes - 1

    def get_label_name(self, value: int) -> str:
        """Name of a label value; background included."""
        names = {0: "background", **{label.value: label.name for label in self.labels}}
        if self.instances and value > 0:
            return f"{self.labels[0].name} {value}"
        return names.get(value, f"label {value}")


LARGEST_INSTANCE = 2**32 - 2
_IMAGE_AXES = ("YX", "YXC", "ZYXC")
_CHEST_CT = AcquisitionLimit(("CT",), ("chest", "trunk"), ("localizer",))
_CHEST_FILM = AcquisitionLimit(("CR", "DX", "RG"), ("chest",), ("lateral", "oblique"))

TASKS: dict[str, Task] = {
    "lungs": Task(
        name="lungs",
        title="Lungs (CT, X-ray)",
        labels=(Label(1, "right lung", "#E69F00"), Label(2, "left lung", "#56B4E9")),
        axes=("YX", "ZYX"),
        modalities=("CT", "CR", "DX", "RG"),
        looks=("grey",),
        display_window=(-600.0, 1500.0),
        sides=(1, 2),
        default_model="lungs-unet",
        limits=(_CHEST_CT, _CHEST_FILM),
    ),
    "covid": Task(
        name="covid",
        title="COVID-19 lesions (CT)",
        labels=(
            Label(1, "ground-glass", "#F0E442"),
            Label(2, "consolidation", "#D55E00"),
            Label(3, "pleural effusion", "#0072B2"),
        ),
        axes=("YX", "ZYX"),
        modalities=("CT",),
        looks=("grey",),
        display_window=(-600.0, 1500.0),
        field="lungs",
        default_model="covid-unet",
        augmentation="lesions",
        replay_augmentation="lesions",
        limits=(_CHEST_CT,),
    ),
    "nuclei": Task(
        name="nuclei",
        title="Nuclei (H&E)",
        labels=(Label(1, "nucleus", "#009E73"),),
        axes=_IMAGE_AXES,
        modalities=("SM", "GM"),
        looks=("stained",),
        instances=True,
        default_model="nuclei-unet",
        augmentation="histology",
        replay_augmentation="histology",
    ),
    "instruments": Task(
        name="instruments",
        title="Instruments",
        labels=(Label(1, "instrument", "#56B4E9"),),
        axes=_IMAGE_AXES,
        modalities=("ES", "GM", "XC"),
        looks=("endoscopic",),
        default_model="instruments-unet",
        augmentation="endoscopy",
        replay_augmentation="endoscopy",
    ),
}


def get_task(name: str) -> Task:
    """Return the built-in task with a name; custom tasks are in a `TaskCatalog`.

    Raises
    ------
    MedSegError
        If there is none; the text lists the choices.
    """
    return look_up(TASKS, name, "task")
