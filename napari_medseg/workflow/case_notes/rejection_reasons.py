"""Reasons for a rejection that the window offers: presets by kind of image, and those that people typed."""

from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.workspace import Workspace

N_REMEMBERED = 5
"""Typed reasons that are offered again, the ones given last first."""

_ALL_IMAGES = ("wrong kind of image", "not usable: quality")
_MEDICAL = ("motion or metal artefacts", "organ cut off by the image", "wrong body part or view")
_COLOUR = ("out of focus or blurred", "artefact: fold, glare, smoke or blood")
PRESETS = frozenset((*_ALL_IMAGES, *_MEDICAL, *_COLOUR))
"""All of them; a reason that is none of these was typed, and may name someone."""


def list_presets(task: Task) -> tuple[str, ...]:
    """Return the presets for the images of a task: if it takes colour images, those of sections and endoscopy."""
    is_colour = any(axes.endswith("C") for axes in task.axes)
    return (*(_COLOUR if is_colour else _MEDICAL), *_ALL_IMAGES)


def list_rejection_reasons(ws: Workspace, task: Task) -> list[str]:
    """Return the presets of a task, then the typed reasons of its cases that were given last."""
    presets = list_presets(task)
    return [*presets, *ws.project.listed.read_rejection_reasons(task.name, presets, N_REMEMBERED)]
