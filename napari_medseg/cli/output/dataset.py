"""`medseg dataset`: write the corrections of a project as a data set to train elsewhere."""

from functools import partial
from typing import Annotated

import typer

from napari_medseg.cli.options import (
    DEFAULT_TASK,
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
)
from napari_medseg.cli.output.accepted_rows import WithBlindOption
from napari_medseg.cli.output.written import OutputOption, open_accepted, tell_written
from napari_medseg.workflow.data_set.layouts import LAYOUTS
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.output.export import read_export_item


def dataset(
    output: OutputOption,
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
    with open_accepted(project, registry, task, with_blind=with_blind) as (ws, rows):
        written = write_data_set(rows, partial(read_export_item, ws), ws.project.folder, output, layout, licence)
    tell_written(output, written, as_json=as_json)
