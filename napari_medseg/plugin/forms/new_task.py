"""Opens the form for a new task: it takes the kind of the open image, and offers the images that are there already."""

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtWidgets import QWidget

from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import suggest_image_kind
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.forms.task_form import ImageChoice, TaskDialog
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.workspace import Workspace


def show_new_task_form(
    parent: QWidget,
    workspace: Workspace,
    current: OpenCase | None,
    dropped: Sequence[Case],
    listed: Task,
    make: Callable[[Task], None],
    use: Callable[[Sequence[Case], str], None],
) -> TaskDialog:
    """Open the form and return it.

    Parameters
    ----------
    parent, workspace, current
        Qt parent, the project, and the open case.
    dropped, listed
        The cases of the last drop, and the task whose list is shown.
    make
        Makes the task; raises `MedSegError` if it cannot.
    use
        Uses the images of cases for a task, by name.
    """
    choices = list_image_choices(workspace, None if current is None else current.case, dropped, listed)

    def make_and_use(task: Task, read_images: Callable[[], Sequence[Case]]) -> None:
        with show_errors():
            images = read_images()
        make(task)
        if images:
            with show_errors():
                use(images, task.name)

    kind = "" if current is None else suggest_image_kind(current.image)
    dialog = TaskDialog(lambda task: make_and_use(task, dialog.read_chosen_cases), parent, kind, choices)
    dialog.show()
    return dialog


def list_image_choices(
    workspace: Workspace, current: Case | None, dropped: Sequence[Case], listed: Task
) -> list[ImageChoice]:
    """Return which images a new task can have at once; the first is the default, the last is none.

    An image that is a case of several tasks counts once. Images of the list and of the project are only counted, and
    read when they are chosen: there may be thousands.
    """
    choices: list[ImageChoice] = []
    if current is not None:
        choices.append((f"the open image: {current.name}", lambda: [current]))
    counted: set[tuple[int, bool]] = {(1, True)} if current is not None else set()
    drop = _take_each_image_once(dropped)
    n_listed = workspace.project.listed.count_images(listed.name)
    n_all = workspace.project.listed.count_images()
    is_of_list = all(case.task == listed.name for case in drop)
    groups: list[tuple[int, str, bool, Callable[[], Sequence[Case]]]] = [
        (len(drop), "of the last drop", is_of_list, lambda: drop),
        (n_listed, f"on the list of {listed.title}", True, partial(_read_listed, workspace, listed.name)),
        (n_all, "of the project", n_all == n_listed, partial(_read_all, workspace)),
    ]
    for n_images, title, is_of_list, read in groups:
        if n_images and (n_images, is_of_list) not in counted:  # as many images of a list are the same ones
            counted.add((n_images, is_of_list))
            choices.append((f"{n_images:,} image{'s' * (n_images != 1)} {title}", read))
    return [*choices, ("none yet: I will drop some", list)] if choices else []


def _read_listed(workspace: Workspace, task: str) -> list[Case]:
    return _take_each_image_once([row.case for row in list_cases(workspace, task)])


def _read_all(workspace: Workspace) -> list[Case]:
    return _take_each_image_once(workspace.project.read_records(Case))


def _take_each_image_once(cases: Sequence[Case]) -> list[Case]:
    return list({case.content_hash: case for case in cases}.values())
