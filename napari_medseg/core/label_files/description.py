"""What a file of labels says about them: names, colours, the model that drew them, and who accepted them."""

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.tasks.bundled_tasks import Task

_GOLDEN = 0.618033988749895
"""Share of the colour circle between two objects that follow each other: neighbours differ, and no colour repeats."""


@dataclass(frozen=True)
class Segment:
    """A label or an object: its value in the array, its name, its colour (0 to 255), and the value of its label."""

    value: int
    name: str
    rgb: tuple[int, int, int]
    label: int


@dataclass(frozen=True)
class LabelDescription:
    """What is known about labels.

    Parameters
    ----------
    task
        Gives names and colours.
    model
        Version of the model that proposed them, ``""`` if they were drawn by hand.
    reviewer
        Who accepted them; ``""`` for a prediction that nobody looked at.
    accepted
        When, as an ISO text; ``""`` if they were not accepted.
    image_file
        Name of the image file that outlines belong to.
    """

    task: Task
    model: str = ""
    reviewer: str = ""
    accepted: str = ""
    image_file: str = ""

    @property
    def provenance(self) -> str:
        """Where the labels come from, as one line of text."""
        who = f"accepted by {self.reviewer or 'a person'} {self.accepted}".rstrip() if self.accepted else "not reviewed"
        return f"napari-medseg, task {self.task.name}, model {self.model or 'none'}, {who}"

    def list_segments(self, labels: NDArray[Any], *, only_present: bool = False) -> list[Segment]:
        """Return the segments of labels: the labels of the task, or for numbered objects each object.

        Parameters
        ----------
        labels
            Integers, 0 is background.
        only_present
            Whether labels without a voxel are left out.
        """
        found = find_values(labels)
        if self.task.instances:
            label = self.task.labels[0]
            return [Segment(value, f"{label.name} {value}", spread_colour(value), label.value) for value in found]
        known = [Segment(one.value, one.name, parse_colour(one.colour), one.value) for one in self.task.labels]
        named = {segment.value for segment in known}
        known += [
            Segment(value, f"label {value}", spread_colour(value), value) for value in found if value not in named
        ]
        return [segment for segment in known if not only_present or segment.value in set(found)]


def find_values(labels: NDArray[Any]) -> list[int]:
    """Return the values of labels except 0, in ascending order."""
    return [int(value) for value in np.unique(labels) if value]


def parse_colour(text: str) -> tuple[int, int, int]:
    """Return the channels of a colour such as ``#E69F00``."""
    digits = text.lstrip("#")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def spread_colour(number: int) -> tuple[int, int, int]:
    """Return a bright colour for the number of an object; it is always the same one."""
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
