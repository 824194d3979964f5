"""`medseg queue`: list the undecided cases of a project, in the same order as the window."""

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    ClearNamesOption,
    JsonOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    describe_identity,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.core.records import UNLIKE
from napari_medseg.workflow.case_images.look_up import mark_lost_images
from napari_medseg.workflow.case_list.ranking import rank_undecided_cases
from napari_medseg.workflow.cases import list_cases


def queue(
    task: TaskOption = DEFAULT_TASK,
    clear_names: ClearNamesOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """List the undecided cases of a project.

    The first case is the one whose correction is expected to improve the model most per minute of work. Cases
    whose image is missing come last, and say so.
    """
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        rows = rank_undecided_cases(mark_lost_images(ws, [row for row in list_cases(ws, task) if not row.is_decided]))
    if as_json:
        entries = [
            {"case": row.case.id, "name": row.case.name, "state": row.state, "uncertainty": row.uncertainty}
            | {"group": row.case.group, "held_out": row.case.held_out}
            | {"unlike": row.is_unlike, "domain_distance": row.prediction and row.prediction.domain_distance}
            | {"image": "" if row.image_problem is None else row.image_problem.fault.value}
            | (describe_identity(row.case) if clear_names else {})
            for row in rows
        ]
        echo_json(entries)
        return
    for row in rows:
        unsure = "" if row.uncertainty is None else f"  uncertainty {row.uncertainty:.4f}"
        shown = f"{row.case.name}  {row.case.file_name}" if clear_names else row.case.name
        unlike = f"  ! {UNLIKE}" if row.is_unlike else ""
        lost = "" if row.image_problem is None else f"  ! {row.image_problem.short_text}"
        echo(f"{shown}  {row.state}{unsure}{'  hold-out' if row.case.held_out else ''}{unlike}{lost}")
    if not rows:
        echo("There is no undecided case.")
