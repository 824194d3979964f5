"""`medseg share`: write DICOM images and their labels without identity."""

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
from napari_medseg.workflow.output.export import read_export_items
from napari_medseg.workflow.sharing.share_dicom import SEG_FORMAT, SHARED_FORMATS, share_cases
from napari_medseg.workflow.sharing.uid_map import keep_pseudonyms, make_pseudonyms


def share(
    output: OutputOption,
    labels_as: Annotated[
        str, typer.Option("--format", help=f"Format of the labels: {', '.join(SHARED_FORMATS)}.")
    ] = SEG_FORMAT,
    task: TaskOption = DEFAULT_TASK,
    with_blind: WithBlindOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write DICOM images and their labels without identity.

    The images of accepted cases with DICOM-SEG or RTSTRUCT objects, and new UIDs that fit together also in later calls:
    the Basic Profile of DICOM PS3.15. Pixels are not changed, so text that is burnt into them stays. Which UID and
    patient was which stays in the project.
    """
    with open_accepted(project, registry, task, with_blind=with_blind) as (ws, rows):
        pseudonyms = make_pseudonyms(ws)
        try:
            written = share_cases(read_export_items(ws, rows), output, pseudonyms, labels_as=labels_as)
        finally:
            keep_pseudonyms(ws, pseudonyms)
    tell_written(output, written, as_json=as_json)
