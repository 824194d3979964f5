"""A drop of mixed kinds: what it holds in words, and how it is used for one task as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import detect_look
from napari_medseg.workflow.tasks import assignment
from napari_medseg.workflow.tasks.assignment import TaskAssignment
from napari_medseg.workflow.workspace import Workspace

_NOUNS = {"CT": "CT", "MR": "MR", "CR": "X-ray", "DX": "X-ray", "US": "ultrasound"}
_LOOKS = {"stained": "histology", "endoscopic": "endoscopy", "grey": "grey"}


@dataclass(frozen=True)
class SortedImage:
    """One image of a drop: its kind in words, such as ``CT slice``, and its case."""

    kind: str
    case: Case


@dataclass(frozen=True)
class DropPart:
    """The images of one kind that were sorted to one task.

    Parameters
    ----------
    text
        The number and the kind in words, such as ``12 CT slices``.
    task
        Name of their task.
    cases
        Their cases, in the order of the drop.
    """

    text: str
    task: str
    cases: tuple[Case, ...]


def describe_kind(image: Image) -> str:
    """Return what an image is, in the singular: ``CT slice``, ``CT series``, ``X-ray``, ``histology image``."""
    noun = _NOUNS.get(image.modality) or ("CT" if image.units == "HU" else _LOOKS[detect_look(image)])
    if image.axes.startswith("Z"):
        return f"{noun} series"
    if noun in ("CT", "MR"):
        return f"{noun} slice"
    return noun if noun == "X-ray" else f"{noun} image"


def describe_drop(ws: Workspace, dropped: Sequence[SortedImage]) -> str:
    """Return one line with the kinds of a drop and their tasks, the most frequent first."""
    return ", ".join(f"{part.text} for {ws.tasks.get_task(part.task).title}" for part in list_parts(dropped))


def list_parts(dropped: Sequence[SortedImage]) -> list[DropPart]:
    """Return the parts of a drop, by kind and task, the one with the most images first."""
    parts: dict[tuple[str, str], list[Case]] = {}
    for image in dropped:
        parts.setdefault((image.kind, image.case.task), []).append(image.case)
    found = [DropPart(_count(len(of), kind), task, tuple(of)) for (kind, task), of in parts.items()]
    return sorted(found, key=lambda part: -len(part.cases))


def list_possible_tasks(ws: Workspace, cases: Sequence[Case]) -> list[Task]:
    """Return the tasks that accept at least one of these images and of which not all are cases already."""
    return [
        task
        for task in ws.tasks
        if any(assignment.case_fits_task(case, task) and case.task != task.name for case in cases)
    ]


def replace_cases(dropped: Sequence[SortedImage], assigned: TaskAssignment) -> list[SortedImage]:
    """Return a drop in its order after a part of it was redirected."""
    refused = {case.id for case in assigned.refused}
    after = {case.content_hash: case for case in assigned.cases}
    return [
        image if image.case.id in refused else SortedImage(image.kind, after.get(image.case.content_hash, image.case))
        for image in dropped
    ]


def redirect_to_task(ws: Workspace, cases: Sequence[Case], task: str) -> TaskAssignment:
    """Use all images of a drop for one task, and take them from the lists on which they were sorted.

    Images that the task does not accept, and cases with accepted labels, stay where they are: `explain_redirection`.

    Raises
    ------
    MedSegError
        If the task accepts none of the images. Then nothing is changed.
    """
    with ws.project.transaction():
        assigned = assignment.use_for_task(ws, cases, task)
        if leaving := list_redirected(ws, cases, assigned):
            assignment.remove_from_list(ws, leaving)
    return assigned


def list_redirected(ws: Workspace, cases: Sequence[Case], assigned: TaskAssignment) -> list[Case]:
    """Return the cases that leave their list when a drop is redirected."""
    stay = {case.id for case in (*assignment.list_staying(ws, cases), *assigned.refused)}
    return [case for case in cases if case.task != assigned.task and case.id not in stay]


def explain_redirection(ws: Workspace, cases: Sequence[Case], assigned: TaskAssignment) -> str:
    """Return what a redirected drop left where it was, and why; empty if it left nothing."""
    elsewhere = [case for case in cases if case.task != assigned.task]
    refused = f"{assignment.list_names(assigned.refused)} cannot be used for it." if assigned.refused else ""
    staying = assignment.explain_staying(ws, assignment.list_staying(ws, elsewhere))
    return " ".join(filter(None, (refused, staying)))


def _count(n_images: int, kind: str) -> str:
    plural = kind if n_images == 1 or kind.endswith("series") else f"{kind}s"
    return f"{n_images:,} {plural}"
