"""`medseg queue`, `export` and `check`: what a project holds, shown by the same functions as the window uses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli import options as places
from napari_medseg.core import formats
from napari_medseg.core.quality.promotion_gate import MIN_GROUPS
from napari_medseg.workflow import retrain
from napari_medseg.workflow.case_ranking import rank_undecided_cases
from napari_medseg.workflow.data_checks import CaseFinding, check_corrections
from napari_medseg.workflow.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.workspace import Workspace


def queue(
    task: places.TaskOption = "lungs",
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """List the cases that nobody has decided on, the one that teaches most per minute first."""
    with places.opened(project, registry) as ws:
        rows = rank_undecided_cases(ws, task)
    if as_json:
        entries = [
            {"case": row.case.id, "name": row.case.name, "state": row.state, "uncertainty": row.uncertainty}
            | {"group": row.case.group, "held_out": row.case.held_out, "sources": list(row.case.sources)}
            for row in rows
        ]
        places.say_json(entries)
        return
    for row in rows:
        unsure = "" if row.uncertainty is None else f"  uncertainty {row.uncertainty:.4f}"
        places.say(f"{row.case.name}  {row.state}{unsure}{'  hold-out' if row.case.held_out else ''}")
    if not rows:
        places.say("No case is waiting.")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; made where it is missing.")],
    suffix: Annotated[str, typer.Option(help=f"Format: {', '.join(formats.WRITERS)}.")] = ".tif",
    task: places.TaskOption = "lungs",
    with_images: Annotated[bool, typer.Option("--with-images", help="Write each image beside its labels.")] = False,
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """Write accepted labels with provenance.json and measurements.csv."""
    with places.opened(project, registry) as ws:
        paths = export_corrections(
            read_export_items(ws, list_accepted_rows(ws, task)), output, suffix, with_images=with_images
        )
    if as_json:
        places.say_json([str(path) for path in paths])
        return
    for path in paths:
        places.say(str(path))


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
        found = check_corrections(ws, task)
        lines = lines_of(ws, task, found)
        n_judging = retrain.count_hold_out_groups(ws, task)
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
    n_judging = retrain.count_hold_out_groups(ws, task)
    if n_judging < MIN_GROUPS:
        lines.append(f"look  the hold-out has accepted cases of {n_judging} patients; {MIN_GROUPS} are needed to tell")
    return lines
