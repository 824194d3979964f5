"""`medseg check`: find errors in accepted labels before they train a model."""

from collections.abc import Sequence

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    ClearNamesOption,
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    describe_identity,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case
from napari_medseg.workflow import retrain
from napari_medseg.workflow.case_images.look_up import mark_lost_images
from napari_medseg.workflow.cases import CaseRow, list_cases
from napari_medseg.workflow.data_checks import check_corrections
from napari_medseg.workflow.findings.case_finding import CaseFinding, hide_blind
from napari_medseg.workflow.hold_out.held_out_groups import describe_hold_out_shortage
from napari_medseg.workflow.workspace import Workspace


def check(
    task: TaskOption = DEFAULT_TASK,
    clear_names: ClearNamesOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Check accepted labels before training.

    Lists label errors, cases that were accepted without being viewed, and training images that repeat a hold-out image,
    then cases whose image is missing. The exit code is 1 if a finding blocks training.
    """
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        lost = [row for row in mark_lost_images(ws, list_cases(ws, task)) if row.image_problem is not None]
        found = hide_blind(ws, check_corrections(ws, task))
        lines = format_findings(ws, task, found) + [_describe_lost(row, clear_names) for row in lost]
        n_judging = retrain.count_hold_out_groups(ws, task)
    if as_json:
        entries = [
            _describe_case(one.case, clear_names)
            | {"kind": one.finding.kind, "text": one.finding.text, "blocking": one.finding.blocking}
            for one in found
        ]
        images = [_describe_case(row.case, clear_names) | {"text": _describe_lost(row, clear_names)} for row in lost]
        held_out = {"hold_out_groups": n_judging, "hold_out_groups_needed": MIN_GROUPS}
        echo_json({"findings": entries} | held_out | {"images": images})
    else:
        for line in lines:
            echo(line)
        if not lines:
            echo("No problem was found.")
    if any(one.finding.blocking for one in found):
        raise typer.Exit(1)


def _describe_case(case: Case | None, clear_names: bool) -> dict[str, object]:
    """Return the case of a finding as plain data; empty for a finding about all cases."""
    if case is None:
        return {"case": None, "name": ""}
    return {"case": case.id, "name": case.name} | (describe_identity(case) if clear_names else {})


def _describe_lost(row: CaseRow, clear_names: bool) -> str:
    """Return a line about an image that is missing; files are named only where clear names are asked for."""
    if row.image_problem is None:
        return ""
    return f"look  {row.case.name}: {row.image_problem.text if clear_names else row.image_problem.short_text}"


def format_findings(ws: Workspace, task: str, found: Sequence[CaseFinding]) -> list[str]:
    """Return one line for each finding, and one more if the hold-out is too small for a comparison."""
    lines = [f"{'STOP  ' if one.finding.blocking else 'look  '}{one.text}" for one in found]
    short = describe_hold_out_shortage(retrain.count_hold_out_groups(ws, task), ws.tasks.get_task(task))
    return [*lines, f"look  {short}"] if short else lines
