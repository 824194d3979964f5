"""`medseg share`: write DICOM images and their labels without identity."""

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
from napari_medseg.workflow.output.export import read_export_items
from napari_medseg.workflow.sharing.share_dicom import share_cases
from napari_medseg.workflow.sharing.uid_map import keep_pseudonyms, make_pseudonyms


def share(
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
    ],
    task: TaskOption = DEFAULT_TASK,
    with_blind: WithBlindOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write DICOM images and their labels without identity.

    The images of accepted cases and DICOM-SEG objects, with new UIDs that fit together also in later calls: the Basic
    Profile of DICOM PS3.15. Pixels are not changed, so text that is burnt into them stays. Which UID and patient was
    which stays in the project.
    """
    with open_workspace(project, registry) as ws:
        pseudonyms = make_pseudonyms(ws)
        try:
            shared = share_cases(
                read_export_items(ws, list_rows_to_write(ws, task, with_blind=with_blind)), output, pseudonyms
            )
        finally:
            keep_pseudonyms(ws, pseudonyms)
    if as_json:
        echo_json(
            {"files": [str(path) for path in shared.files], "warnings": shared.warnings, "refused": shared.refused}
        )
    else:
        for path in shared.files:
            echo(str(path))
        for warning in shared.warnings:
            echo_notice(warning)
    for reason in shared.refused:
        typer.echo(f"medseg: {reason}", err=True)
    if shared.refused:
        raise typer.Exit(1)
