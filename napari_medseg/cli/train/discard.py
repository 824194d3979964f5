"""`medseg train discard`: discard a run that was paused or interrupted."""

from napari_medseg.cli.console import echo
from napari_medseg.cli.options import DEFAULT_TASK, ProjectOption, RegistryOption, TaskOption, open_workspace
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.cli.train.project_run import find_resumable_run
from napari_medseg.workflow import run_control


def discard_run(
    task: TaskOption = DEFAULT_TASK, project: ProjectOption = None, registry: RegistryOption = None
) -> None:
    """Discard the paused or interrupted run of a task.

    The next run uses its corrections again. This was `medseg train --discard`.
    """
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        run = find_resumable_run(ws, task)
        run_control.discard(ws, run)
    echo(f"The run {run.id} is discarded. The next run uses its corrections.")
