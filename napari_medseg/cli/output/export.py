"""`medseg export`: write the accepted labels of a project as files."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json, echo_notice
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    JsonOption,
    LabelFormatOption,
    MaxMemoryOption,
    NamesOption,
    ProjectOption,
    RegistryOption,
    StraightenOption,
    TaskOption,
    WithIdentityOption,
    agree_to_identity,
    check_output_folder,
    open_workspace,
)
from napari_medseg.cli.output.accepted_rows import WithBlindOption, list_rows_to_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.workflow.output.export import export_corrections, read_export_items
from napari_medseg.workflow.output.image_names import make_namer
from napari_medseg.workflow.output.notes import list_rejected_cases, read_notes_to_export


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
    ],
    suffix: LabelFormatOption = ".tif",
    task: TaskOption = DEFAULT_TASK,
    with_images: Annotated[bool, typer.Option("--with-images", help="Write the images, too.")] = False,
    names: NamesOption = "group",
    straighten: StraightenOption = False,
    with_notes: Annotated[
        bool,
        typer.Option(
            "--with-notes/--without-notes",
            help="Write notes and reasons for rejection: free text, known names replaced.",
        ),
    ] = False,
    with_blind: WithBlindOption = False,
    with_identity: WithIdentityOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write the accepted labels of a project.

    With them come provenance.json and measurements.csv. A case whose files are missing or damaged is left out and
    named; then the exit code is 1.
    """
    agree_to_identity(find_label_format(suffix), with_identity)
    with open_workspace(project, registry) as ws:
        namer = make_namer(names, ws.registry.user_dir)
        notes = read_notes_to_export(ws, task, with_texts=with_notes)
        rows = list_rows_to_write(ws, task, with_blind=with_blind)
        items = read_export_items(ws, rows, notes=notes)
        paths = export_corrections(items, output, suffix, with_images, namer, straighten=straighten)
        list_rejected_cases(output, notes)
    if as_json:
        echo_json([str(path) for path in paths])
    else:
        for path in paths:
            echo(str(path))
    if find_label_format(suffix).names_patient and not as_json:
        echo_notice("these labels hold the name and ID of the patient, as their DICOM series does")
    if items.left_out:
        raise MedSegError(items.left_out_text)
