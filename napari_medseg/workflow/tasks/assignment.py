"""For which task an image is used: a case of one task becomes a case of another one, or leaves the list of its task."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cases import find_case
from napari_medseg.workflow.tasks.custom_tasks import save_task_to_project
from napari_medseg.workflow.workspace import Workspace

CASES_PER_STEP = 50
MAX_NAMES_LISTED = 3


@dataclass(frozen=True)
class TaskAssignment:
    """Result of `use_for_task`.

    Parameters
    ----------
    task
        Name of the task.
    cases
        The cases of the images in this task, in order.
    added
        Those that were not on its list before; `remove_from_list` undoes the assignment of them.
    refused
        The given cases whose images the task does not accept.
    """

    task: str
    cases: tuple[Case, ...]
    added: tuple[Case, ...]
    refused: tuple[Case, ...]


def use_for_task(ws: Workspace, cases: Sequence[Case], task: str) -> TaskAssignment:
    """Use the images of cases for another task. They stay cases of their own task, with all that was done there.

    A case that exists in the other task already is on its list again, with its earlier labels. The group of an image
    and its side of the split stay the same.

    Raises
    ------
    MedSegError
        If the task accepts none of the images. Then nothing is changed.
    """
    wanted = ws.tasks.get_task(task)
    fitting = [case for case in cases if case_fits_task(case, wanted)]
    if not fitting:
        axes = sorted({case.axes for case in cases})
        raise MedSegError(
            f"{wanted.title} needs images with axes {', '.join(wanted.axes)}, but {list_names(cases)} has "
            f"{', '.join(axes)}. Choose another task."
        )
    save_task_to_project(ws, wanted)
    with ws.project.transaction():
        removed = ws.project.read_removed_case_ids()
        known = [find_case(ws, case.content_hash, task) for case in fitting]
        assigned = [old or _copy_case(ws, case, task) for case, old in zip(fitting, known, strict=True)]
        added = [case for case, old in zip(assigned, known, strict=True) if old is None or old.id in removed]
        ws.project.set_removed([case for case in added if case.id in removed], removed=False)
    fits = {case.id for case in fitting}
    return TaskAssignment(task, tuple(assigned), tuple(added), tuple(case for case in cases if case.id not in fits))


def use_in_steps(ws: Workspace, cases: Sequence[Case], task: str) -> Generator[int, None, TaskAssignment]:
    """Use the images of many cases for another task, as `use_for_task`, in steps between which a window can draw.

    Yields how many are done, but not after the last step; returns the whole assignment.
    """
    wanted = ws.tasks.get_task(task)
    fitting = [case for case in cases if case_fits_task(case, wanted)] or list(cases)  # none fits: it is refused
    parts: list[TaskAssignment] = []
    for begin in range(0, len(fitting), CASES_PER_STEP):
        if begin:
            yield begin
        parts.append(use_for_task(ws, fitting[begin : begin + CASES_PER_STEP], task))
    used, added = (tuple(chain.from_iterable(each)) for each in zip(*[(p.cases, p.added) for p in parts], strict=True))
    fits = {case.id for case in fitting}
    return TaskAssignment(task, used, added, tuple(case for case in cases if case.id not in fits))


def remove_from_list(ws: Workspace, cases: Sequence[Case]) -> list[Case]:
    """Remove cases from the list of their task, and return them. Their strokes stay on disk.

    A case with accepted labels stays, also if it was rejected later, because versions may have learnt from them.
    `return_to_list`, or dropping the images again, brings the cases back as they were.

    Raises
    ------
    MedSegError
        If all cases stay.
    """
    staying = list_staying(ws, cases)
    stay = {case.id for case in staying}
    removed = [case for case in cases if case.id not in stay]
    if not removed:
        raise MedSegError(explain_staying(ws, staying))
    ws.project.set_removed(removed, removed=True)
    return removed


def list_staying(ws: Workspace, cases: Sequence[Case]) -> list[Case]:
    """Return those cases that cannot leave their list: their labels were accepted once."""
    corrected = ws.project.listed.list_corrected()
    return [case for case in cases if case.id in corrected]


def explain_staying(ws: Workspace, staying: Sequence[Case]) -> str:
    """Return why cases stay on their list, in a sentence for those that count and one for those rejected since."""
    accepted = {case.id for case, _ in ws.project.read_accepted_cases()} if staying else set()
    counting = [case for case in staying if case.id in accepted]
    rejected = [case for case in staying if case.id not in accepted]
    texts = []
    if counting:
        texts.append(
            f"{_describe_stay(counting)}: {_choose_pronoun(counting)} labels were accepted, and they train and "
            "evaluate models. Reject what must not be used any more."
        )
    if rejected:
        texts.append(
            f"{_describe_stay(rejected)}, as rejected: {_choose_pronoun(rejected)} labels were accepted before, and "
            "versions may have learnt from them. They are not used any more."
        )
    return " ".join(texts)


def _describe_stay(cases: Sequence[Case]) -> str:
    return f"{list_names(cases)} {'stays' if len(cases) == 1 else 'stay'} on the list"


def _choose_pronoun(cases: Sequence[Case]) -> str:
    return "its" if len(cases) == 1 else "their"


def return_to_list(ws: Workspace, cases: Sequence[Case]) -> None:
    """Put removed cases on the list of their task again, with the labels that they had."""
    ws.project.set_removed(cases, removed=False)


def case_fits_task(case: Case, task: Task) -> bool:
    """Whether a task accepts the axes of a case; a task for grey images also accepts colour images."""
    return case.axes in task.axes or case.spatial_axes in task.axes


def list_names(cases: Sequence[Case]) -> str:
    """Return the names of some cases as text, such as ``a, b and 7 more``."""
    more = len(cases) - MAX_NAMES_LISTED
    return ", ".join(case.name for case in cases[:MAX_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")


def _copy_case(ws: Workspace, case: Case, task: str) -> Case:
    return ws.project.insert(replace(case, id=0, task=task, created=now()))
