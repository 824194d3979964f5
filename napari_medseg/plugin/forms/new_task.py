"""Opens the form for a new task: it takes the kind of the open image, and offers the images that are there already."""

from collections.abc import Callable, Sequence

from qtpy.QtWidgets import QWidget

from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import suggest_image_kind
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.plugin.forms.task_form import ImageChoice, TaskDialog
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.workspace import Workspace


def show_new_task_form(
    parent: QWidget,
    workspace: Workspace,
    current: OpenCase | None,
    groups_of_cases: Sequence[tuple[str, Sequence[Case]]],
    make: Callable[[Task], None],
    use: Callable[[Sequence[Case], str], None],
) -> TaskDialog:
    """Open the form and return it.

    Parameters
    ----------
    parent, workspace, current
        Qt parent, the project, and the open case.
    groups_of_cases
        Names of groups of images, such as the last drop, and their cases.
    make
        Makes the task; raises `MedSegError` if it cannot.
    use
        Uses the images of cases for a task, by name.
    """
    choices = list_image_choices(workspace, current, groups_of_cases)

    def make_and_use(task: Task, images: Sequence[Case]) -> None:
        make(task)
        if images:
            with show_errors():
                use(images, task.name)

    kind = "" if current is None else suggest_image_kind(current.image)
    dialog = TaskDialog(lambda task: make_and_use(task, dialog.chosen_cases), parent, kind, choices)
    dialog.show()
    return dialog


def list_image_choices(
    workspace: Workspace, current: OpenCase | None, groups_of_cases: Sequence[tuple[str, Sequence[Case]]]
) -> list[ImageChoice]:
    """Return which images a new task can have at once; the first is the default, the last is none.

    An image that is a case of several tasks counts once.
    """
    choices: list[ImageChoice] = []
    if current is not None:
        choices.append((f"the open image: {current.case.name}", (current.case,)))
    every = workspace.project.read_records(Case)
    for title, cases in [*groups_of_cases, ("of the project", every)]:
        images = tuple({case.content_hash: case for case in cases}.values())
        known = [{case.content_hash for case in chosen} for _, chosen in choices]
        if images and {case.content_hash for case in images} not in known:
            choices.append((f"{len(images)} image{'s' * (len(images) != 1)} {title}", images))
    return [*choices, ("none yet: I will drop some", ())] if choices else []
