"""What can be segmented. A task is data: nothing else in the program asks which task it is."""

from dataclasses import dataclass

from napari_medseg.core.errors import MedSegError


@dataclass(frozen=True)
class Label:
    """One label of a task: its value in the array, its name, and its colour (Okabe-Ito, safe for colour-blind eyes)."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class Task:
    """What is to be segmented; constant.

    Parameters
    ----------
    name, title
        Word in code and files; text in the window.
    labels
        Without background, which is 0.
    axes
        Axes of the images it takes.
    display_window
        Centre and width, in HU, in which a CT is shown.
    sides
        Values of the labels of the patient's right and left, where the task has sides.
    default_model
        Name of the model family that predicts first.
    """

    name: str
    title: str
    labels: tuple[Label, ...]
    axes: tuple[str, ...]
    display_window: tuple[float, float] | None = None
    sides: tuple[int, int] | None = None
    default_model: str = ""

    @property
    def n_classes(self) -> int:
        """Labels and background."""
        return max(label.value for label in self.labels) + 1

    def label_name(self, value: int) -> str:
        """Name of a label value; background included."""
        names = {0: "background", **{label.value: label.name for label in self.labels}}
        return names.get(value, f"label {value}")


TASKS: dict[str, Task] = {
    "lungs": Task(
        name="lungs",
        title="Lungs (CT)",
        labels=(Label(1, "right lung", "#E69F00"), Label(2, "left lung", "#56B4E9")),
        axes=("YX", "ZYX"),
        display_window=(-600.0, 1500.0),
        sides=(1, 2),
        default_model="lungs-unet",
    ),
}


def task_named(name: str) -> Task:
    """Return the task of that name.

    Raises
    ------
    MedSegError
        If there is none; the text lists the choices.
    """
    if name not in TASKS:
        raise MedSegError(f"unknown task {name!r}; choose one of {sorted(TASKS)}")
    return TASKS[name]
