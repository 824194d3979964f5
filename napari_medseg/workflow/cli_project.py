"""`medseg queue` and `export`: what a project holds, shown by the same functions as the window uses."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.core import formats
from napari_medseg.workflow import cli_places as places
from napari_medseg.workflow.export import accepted_rows, export_corrections, items_of
from napari_medseg.workflow.queue import waiting


def queue(
    task: places.TaskOption = "lungs",
    as_json: places.JsonOption = False,
    project: places.ProjectOption = None,
    registry: places.RegistryOption = None,
) -> None:
    """List the cases that nobody has decided on, the one that teaches most per minute first."""
    with places.opened(project, registry) as ws:
        rows = waiting(ws, task)
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
        paths = export_corrections(items_of(ws, accepted_rows(ws, task)), output, suffix, with_images=with_images)
    if as_json:
        places.say_json([str(path) for path in paths])
        return
    for path in paths:
        places.say(str(path))
