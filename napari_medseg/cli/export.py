"""`medseg export`: write the accepted labels of a project as files."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    JsonOption,
    LabelFormatOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    open_workspace,
)
from napari_medseg.workflow.export import export_corrections, list_accepted_rows, read_export_items


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; created if missing.")],
    suffix: LabelFormatOption = ".tif",
    task: TaskOption = DEFAULT_TASK,
    with_images: Annotated[bool, typer.Option("--with-images", help="Write the images, too.")] = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write the accepted labels of a project.

    With them come provenance.json and measurements.csv.
    """
    with open_workspace(project, registry) as ws:
        paths = export_corrections(
            read_export_items(ws, list_accepted_rows(ws, task)), output, suffix, with_images=with_images
        )
    if as_json:
        echo_json([str(path) for path in paths])
        return
    for path in paths:
        echo(str(path))
