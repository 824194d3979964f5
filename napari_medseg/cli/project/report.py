"""`medseg report`: one HTML page about a project."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import JsonOption, RegistryOption, check_output_folder, open_registry
from napari_medseg.cli.project.group import ProjectArgument, run_to_end


def report(
    project: ProjectArgument,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="DIR", callback=check_output_folder, help="Folder of report.html."),
    ],
    names: Annotated[
        bool, typer.Option("--names", help="Show clear names of patients, files and readers; the page says so.")
    ] = False,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave out pictures: what is burnt into an image is visible in them.")
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Write one HTML page about a project: who corrected what with which model, scores before and after each retrain.

    Also lineage of versions, worst drafts, hold-out and data card. A window may have the project open.
    """
    from napari_medseg.workflow.report.write import ReportOptions, write_project_report

    options = ReportOptions(clear_names=names, pictures=not no_pictures)
    writing = write_project_report(project, open_registry(registry), out, options)
    path = run_to_end(writing, f"reading {project.name}", quiet=as_json)
    if as_json:
        echo_json({"file": str(path)})
    else:
        echo(str(path))
