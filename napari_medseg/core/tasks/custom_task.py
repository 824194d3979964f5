"""Custom tasks: name, labels, colours and kind of images. After validation they are like built-in tasks."""

import re
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import AfterValidator

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.tasks.bundled_tasks import TASKS, Label, Task

MAX_LABELS = 254
MAX_NAME_LENGTH = 40
NAME_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
COLOUR_PATTERN = re.compile(r"#[0-9A-Fa-f]{6}")
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe-Ito palette, colour-blind safe; further labels get hues that differ by the golden angle."""
GOLDEN_ANGLE = 0.381966
_GREY_AXES = ("YX", "ZYX")
_GREY_MODALITIES = (
    *("CT", "MR", "CR", "DX", "US", "MG", "PT", "XA", "RF", "NM", "RG", "IO", "PX", "OP", "OPT", "IVUS", "IVOCT"),
    *("BDUS", "BMD", "RTIMAGE", "GM", "ES"),
)
_COLOUR_AXES = ("YX", "YXC", "ZYXC")


@dataclass(frozen=True)
class ImageKind:
    """A kind of images: its title in the window, and the fields of `Task` that it sets."""

    title: str
    axes: tuple[str, ...]
    modalities: tuple[str, ...]
    looks: tuple[str, ...]
    augmentation: str
    window: tuple[float, float] | None = None


IMAGE_KINDS: dict[str, ImageKind] = {
    "colour": ImageKind(
        "Colour images", _COLOUR_AXES, ("XC", "ES", "GM", "OP", "SM", "DMS"), ("endoscopic", "stained"), "endoscopy"
    ),
    "endoscopy": ImageKind("Endoscopy", _COLOUR_AXES, ("ES", "GM", "XC"), ("endoscopic",), "endoscopy"),
    "histology": ImageKind("Histology, H&E", _COLOUR_AXES, ("SM",), ("stained",), "histology"),
    "grey": ImageKind("Grey images or slices", _GREY_AXES, _GREY_MODALITIES, ("grey",), "gentle"),
    "ct": ImageKind("CT", _GREY_AXES, ("CT",), ("grey",), "gentle", (40.0, 400.0)),
    "mr": ImageKind("MR", _GREY_AXES, ("MR",), ("grey",), "gentle"),
    "x-ray": ImageKind("X-ray", _GREY_AXES, ("CR", "DX", "MG"), ("grey",), "gentle"),
    "ultrasound": ImageKind("Ultrasound", _GREY_AXES, ("US",), ("grey",), "gentle"),
}
FALLBACK_KINDS = {1: "grey", 3: "colour"}


def make_custom_task(
    name: str,
    labels: Sequence[str],
    colours: Sequence[str] = (),
    kind: str = "colour",
    title: str = "",
    instances: bool = False,
) -> Task:
    """Make a task.

    Parameters
    ----------
    name
        Name in code and files: lower-case letters and digits, separated by single hyphens.
    labels
        Names without background, in the order of their values from 1. Underscores are replaced by spaces. In grey
        images, two labels "right ..." and "left ..." with the same rest are the patient's sides.
    colours
        One ``"#RRGGBB"`` for each label, or empty for a colour-blind safe palette.
    kind
        A key of `IMAGE_KINDS`.
    title
        Text in the window; derived from the name if empty.
    instances
        Whether each object gets its own number; then there is one label.

    Raises
    ------
    MedSegError
        If name, labels, colours or kind are not valid; the text says what is wrong.
    """
    made_for = look_up(IMAGE_KINDS, kind, "kind of images")
    named = _make_labels(labels, colours)
    task = Task(
        name=name,
        title=title.strip() or name.replace("-", " ").capitalize(),
        labels=named,
        axes=made_for.axes,
        modalities=made_for.modalities,
        looks=made_for.looks,
        display_window=made_for.window,
        sides=None if instances or "grey" not in made_for.looks else _find_sides([label.name for label in named]),
        instances=instances,
        default_model=f"{name}-unet",
        augmentation=made_for.augmentation,
        replay_augmentation=made_for.augmentation,
    )
    return _check_or_refuse(task)


def replace_task_labels(task: Task, labels: Sequence[str], colours: Sequence[str]) -> Task:
    """Return a task with other labels, one colour for each; raises like `make_custom_task`.

    Use `extends` to check whether the result may replace a task that is in use.
    """
    named = _make_labels(labels, colours)
    sides = None if task.instances or "grey" not in task.looks else _find_sides([label.name for label in named])
    return _check_or_refuse(replace(task, labels=named, sides=task.sides or sides))


def append_task_labels(task: Task, labels: Sequence[str], colours: Sequence[str] = ()) -> Task:
    """Return a task with more labels at the end; without `colours` they get colours that are not used yet."""
    taken = {label.colour for label in task.labels}
    free = [colour for colour in map(get_default_colour, range(len(taken) + len(labels))) if colour not in taken]
    more = [*task.labels, *_make_labels(labels, list(colours) or free[: len(labels)])]
    return replace_task_labels(task, [label.name for label in more], [label.colour for label in more])


def extends(task: Task, other: Task) -> bool:
    """Whether every label of `other` means the same in `task`; `task` may have more labels at the end."""
    names = {label.value: label.name for label in task.labels}
    known = all(names.get(label.value) == label.name for label in other.labels)
    return known and (task.name, task.instances) == (other.name, other.instances)


def find_image_kind(task: Task) -> str:
    """Return the kind of images of a custom task, a key of `IMAGE_KINDS`."""
    like = [word for word, kind in IMAGE_KINDS.items() if (kind.axes, kind.looks) == (task.axes, task.looks)]
    exact = [word for word in like if IMAGE_KINDS[word].modalities == task.modalities]
    return next(iter([*exact, *like, FALLBACK_KINDS[count_input_channels(task)]]))


def list_modalities(task: Task) -> tuple[str, ...]:
    """Return the modalities that a task accepts; for a custom task also those that its kind of images has by now."""
    if task.name in TASKS:
        return task.modalities
    return tuple(dict.fromkeys((*task.modalities, *IMAGE_KINDS[find_image_kind(task)].modalities)))


def check_custom_task(task: Task) -> Task:
    """Return the task unchanged; raise `ValueError` if its name or its labels are not valid."""
    for problem in (_find_name_problem(task.name), _find_labels_problem(task)):
        if problem:
            raise ValueError(problem)
    return task


CustomTask = Annotated[Task, AfterValidator(check_custom_task)]
"""A task as a field of a JSON file; it is validated when it is read."""


def get_default_colour(index: int) -> str:
    """Default colour of label number `index`, counted from 0."""
    if index < len(PALETTE):
        return PALETTE[index]
    red, green, blue = hsv_to_rgb((index * GOLDEN_ANGLE) % 1.0, 0.75, 0.95 - 0.25 * (index % 2))
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def count_input_channels(task: Task) -> int:
    """Return the input channels of a network for the task: 3 if it accepts colour images, else 1."""
    return 3 if any(axes.endswith("C") for axes in task.axes) else 1


def have_same_labels(one: Task, other: Task) -> bool:
    """Whether every value means the same in both tasks; colours may differ."""
    values = [{label.value: label.name for label in task.labels} for task in (one, other)]
    return values[0] == values[1] and one.instances == other.instances


def _make_labels(names: Sequence[str], colours: Sequence[str]) -> tuple[Label, ...]:
    """Return labels with values in order; without colours, the default ones are used."""
    words = [" ".join(name.replace("_", " ").split()) for name in names]
    shown = list(colours) or [get_default_colour(index) for index in range(len(words))]
    if len(shown) != len(words):
        raise MedSegError(f"there are {len(words)} labels, but {len(shown)} colours. Give one colour for each label.")
    return tuple(
        Label(value, word, colour.upper()) for value, (word, colour) in enumerate(zip(words, shown, strict=True), 1)
    )


def _check_or_refuse(task: Task) -> Task:
    try:
        return check_custom_task(task)
    except ValueError as error:
        raise MedSegError(f"{error}.") from error


def _find_name_problem(name: str) -> str:
    if name in TASKS:
        return f"{name!r} is a built-in task; choose another name"
    if len(name) > MAX_NAME_LENGTH or not NAME_PATTERN.fullmatch(name):
        return (
            f"{name!r} is not a valid task name: use lower-case letters and digits, separated by single hyphens, "
            f"at most {MAX_NAME_LENGTH} characters, as in 'larynx' or 'knee-bones'"
        )
    return ""


def _find_labels_problem(task: Task) -> str:
    names = [label.name.casefold() for label in task.labels]
    values = [label.value for label in task.labels]
    double = sorted({name for name in names if names.count(name) > 1})
    bad_colours = [label.colour for label in task.labels if not COLOUR_PATTERN.fullmatch(label.colour)]
    problems = {
        "a task needs at least one label": not names,
        f"a task has at most {MAX_LABELS} labels, not {len(names)}": len(names) > MAX_LABELS,
        "a label has no name": "" in names,
        f"two labels are called {', '.join(double)}; give each label a different name": bool(double),
        "background is always 0 and needs no label; leave it out": "background" in names,
        "labels are numbered from 1 without gaps": values != list(range(1, len(values) + 1)),
        f"{', '.join(bad_colours)} is not a colour; write it like #E69F00": bool(bad_colours),
        "a task with numbered objects has exactly one label, for all objects": task.instances and len(names) > 1,
    }
    return next((text for text, holds in problems.items() if holds), "")


def _find_sides(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the values of the first pair of labels that differ in "right" and "left" only."""
    words = [label.casefold().split() for label in names]
    for index, right in enumerate(words):
        mirrored = ["left" if word == "right" else word for word in right]
        if "right" in right and mirrored in words:
            return index + 1, words.index(mirrored) + 1
    return None
