"""`medseg check`: what to look at before a model learns from the corrections of a project."""

from collections.abc import Sequence

import typer

from napari_medseg.core.gate import MIN_GROUPS
from napari_medseg.workflow import cli_places as places
from napari_medseg.workflow import improve
from napari_medseg.workflow.findings import CaseFinding, findings
from napari_medseg.workflow.workspace import Workspace


def check(
    task: places.TaskOption = "lungs",
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """List slips in accepted labels, cases accepted unseen, and lessons that repeat a hold-out image.

    Exit code 1 where something is found that must not train a model.
    """
    with places.opened(project, registry) as ws:
        found = findings(ws, task)
        lines = lines_of(ws, task, found)
        n_judging = improve.judging_groups(ws, task)
    if as_json:
        entries = [
            {"case": one.case.id, "name": one.case.name, "sources": list(one.case.sources)}
            | {"kind": one.finding.kind, "text": one.finding.text, "blocking": one.finding.blocking}
            for one in found
        ]
        places.say_json({"findings": entries, "hold_out_groups": n_judging, "hold_out_groups_needed": MIN_GROUPS})
    else:
        for line in lines:
            places.say(line)
        if not lines:
            places.say("Nothing was found.")
    if any(one.finding.blocking for one in found):
        raise typer.Exit(1)


def lines_of(ws: Workspace, task: str, found: Sequence[CaseFinding]) -> list[str]:
    """Say the findings, and whether the hold-out can tell better from worse, one line each."""
    lines = [f"{'STOP  ' if one.finding.blocking else 'look  '}{one.text}" for one in found]
    n_judging = improve.judging_groups(ws, task)
    if n_judging < MIN_GROUPS:
        lines.append(f"look  the hold-out has accepted cases of {n_judging} patients; {MIN_GROUPS} are needed to tell")
    return lines
