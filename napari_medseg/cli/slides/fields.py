"""`medseg slides fields`: list the fields of a slide in a project, or add a grid of fields on its tissue."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    JsonOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    open_or_make_workspace,
    open_workspace,
)
from napari_medseg.cli.slides.options import SLIDE_TASK, SlideArgument
from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.core.slides.grid import GridChoice, make_grid
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.slides.slide_fields import SlideField, list_slide_fields, read_fields
from napari_medseg.workflow.workspace import Workspace


def fields(
    slide: SlideArgument,
    add: Annotated[
        int, typer.Option("--add", min=0, help="Add so many fields on tissue, chosen by chance, and not on others.")
    ] = 0,
    size: Annotated[int, typer.Option("--size", min=16, help="Height and width of a new field in pixels.")] = 1000,
    level: Annotated[int, typer.Option("--level", min=0, help="Level of new fields; 0 is the full resolution.")] = 0,
    tissue: Annotated[float, typer.Option("--tissue", min=0, max=1, help="Least share of tissue in a field.")] = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice.")] = 0,
    task: TaskOption = SLIDE_TASK,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """List the fields of a slide that a project has, after adding new ones if that is asked for.

    Fields are cases like any other: medseg queue, export and dataset list and write them. The exit code is 1 if a field
    cannot be read.
    """
    path = slide if find_address(slide) is not None else slide.absolute()
    open_project = open_or_make_workspace if add else open_workspace
    with open_project(project, registry) as ws:
        errors = _add(ws, path, GridChoice(size, level, tissue, add, seed), task) if add else []
        listed = list_slide_fields(ws, path)
    if not listed:
        open_slide(path).close()  # refuses what is no slide, such as a slip in a name
    if as_json:
        echo_json({"fields": [_describe(one) for one in listed], "errors": errors})
    else:
        echo(f"{len(listed)} field{'' if len(listed) == 1 else 's'}")
        for one in listed:
            place = one.field
            where = f"level {place.level}, x {place.x:,}, y {place.y:,}, {place.width} x {place.height}"
            echo(f"  {one.row.case.name}: {where}: {one.row.state}")
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def _add(ws: Workspace, path: Path, choice: GridChoice, task: str) -> list[str]:
    """Add fields on tissue as cases; return why some of them could not be."""
    existing = [one.field for one in list_slide_fields(ws, path)]
    with contextlib.closing(open_slide(path)) as opened:
        chosen = make_grid(opened, find_tissue(opened), choice, existing)
    errors = []
    for read in read_fields(chosen):
        if not isinstance(read, Image):
            errors.append(read.text)
            continue
        try:
            with translate_errors():  # the others are still added
                add_cases(ws, [read], ws.tasks.get_task(task).name)
        except MedSegError as error:
            errors.append(str(error))
    return errors


def _describe(one: SlideField) -> dict[str, Any]:
    place = one.field
    return {
        "case": one.row.case.id,
        "name": one.row.case.name,
        "state": one.row.state,
        "level": place.level,
        "x": place.x,
        "y": place.y,
        "width": place.width,
        "height": place.height,
    }
