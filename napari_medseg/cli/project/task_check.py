"""The task of a project that a command is about."""

from napari_medseg.cli.console import echo_notice
from napari_medseg.workflow.workspace import Workspace


def check_task(ws: Workspace, task: str) -> None:
    """Refuse a task that does not exist; say so if the project has cases of other tasks only.

    Most people have one task in a project and forget the option, whose default is another one.

    Raises
    ------
    MedSegError
        If there is no such task; the text lists the choices.
    """
    title, listed = ws.tasks.get_task(task).title, ws.project.listed.read_tasks()
    if listed and task not in listed:
        options = ", ".join(f"--task {name}" for name in listed)
        echo_notice(f"the project has no case of {title}. It has cases of other tasks: {options}")
