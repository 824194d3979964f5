"""`medseg train decide`: promote the new version of a run that has ended, or keep the old one."""

import typer

from napari_medseg.cli.options import (
    DEFAULT_TASK,
    JsonOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.cli.train.project_run import finish_project_run
from napari_medseg.cli.train.run_options import PromoteOption, ReasonOption, check_reason
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.run_outcome import find_waiting_comparison


def decide_run(
    context: typer.Context,
    task: TaskOption = DEFAULT_TASK,
    promote: PromoteOption = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Decide about a new version that waits: with --promote it goes live if it is better, else the old one stays.

    A run of the window waits until someone decides; no other run of its task starts before.
    """
    check_reason(context, reason, promote=promote)
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        if (run := find_waiting_comparison(ws, task)) is None:
            raise MedSegError(f"the task {task!r} has no new version that waits for a decision.")
        finish_project_run(ws, run, promote=promote, reason=reason, as_json=as_json)
