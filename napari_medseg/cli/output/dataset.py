"""`medseg dataset`: write the corrections of a project as a data set to train elsewhere."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    check_output_folder,
    open_workspace,
)
from napari_medseg.cli.output.accepted_rows import WithBlindOption, list_rows_to_write
from napari_medseg.workflow.data_set.layouts import LAYOUTS
from napari_medseg.workflow.data_set.plan import leave_out_copies
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.output.export import read_export_item


def dataset(
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
    ],
    layout: Annotated[str, typer.Option("--format", help=f"Layout: {', '.join(LAYOUTS)}.")] = "nnunet",
    task: TaskOption = DEFAULT_TASK,
    licence: Annotated[str, typer.Option(help="Licence of images and labels, for the data card.")] = "",
    with_blind: WithBlindOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write the corrections of a project as a data set to train elsewhere.

    The split is by group, and the hold-out becomes the test set. With it come a data card, split.csv and checksums.
    Names are numbers of cases; headers are not copied. `medseg import FOLDER` makes a project of it.
    """
    with open_workspace(project, registry) as ws:
        read = partial(read_export_item, ws)
        rows, copies = leave_out_copies(ws.project.folder, list_rows_to_write(ws, task, with_blind=with_blind))
        written = write_data_set(rows, read, output, layout, licence)
    refused = [*copies, *written.refused]
    if as_json:
        files = [str(path) for path in written.files]
        echo_json({"files": files, "remarks": written.remarks, "refused": refused})
    else:
        echo(f"{output}: {len(written.files)} files")
        for remark in written.remarks:
            echo_notice(remark)
    for reason in refused:
        typer.echo(f"medseg: {reason}", err=True)
    if refused:
        raise typer.Exit(1)
