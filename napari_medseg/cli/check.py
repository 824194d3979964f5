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
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.core.records import Case
from napari_medseg.workflow import retrain
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

    Lists label errors, cases that were accepted without being viewed, and training images that repeat a hold-out image.
    The exit code is 1 if a finding blocks training.
    """
    with open_workspace(project, registry) as ws:
        found = hide_blind(ws, check_corrections(ws, task))
        lines = format_findings(ws, task, found)
        n_judging = retrain.count_hold_out_groups(ws, task)
    if as_json:
        entries = [
            _describe_case(one.case, clear_names)
            | {"kind": one.finding.kind, "text": one.finding.text, "blocking": one.finding.blocking}
            for one in found
        ]
        echo_json({"findings": entries, "hold_out_groups": n_judging, "hold_out_groups_needed": MIN_GROUPS})
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


def format_findings(ws: Workspace, task: str, found: Sequence[CaseFinding]) -> list[str]:
    """Return one line for each finding, and one more if the hold-out is too small for a comparison."""
    lines = [f"{'STOP  ' if one.finding.blocking else 'look  '}{one.text}" for one in found]
    short = describe_hold_out_shortage(retrain.count_hold_out_groups(ws, task), ws.tasks.get_task(task))
    return [*lines, f"look  {short}"] if short else lines
