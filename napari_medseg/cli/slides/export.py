"""`medseg slides export`: labels of a slide for other programs, with the corrections of a project."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    JsonOption,
    RegistryOption,
    check_output_folder,
    open_workspace,
    split_words,
)
from napari_medseg.cli.output.accepted_rows import WithBlindOption, tell_left_out
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.whole_slide.corrections import CorrectedField
from napari_medseg.workflow.whole_slide.export import SLIDE_FORMATS, export_slide
from napari_medseg.workflow.whole_slide.manifest import SlideIdentity, read_manifest
from napari_medseg.workflow.whole_slide.project_slides import (
    list_corrected_fields,
    read_corrected_fields,
    write_fields,
)


def export(
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="Folder of medseg slides predict.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
    ],
    formats: Annotated[
        str, typer.Option("--format", help=f"What to write: {', '.join(SLIDE_FORMATS)}; several with commas.")
    ] = "geojson",
    slide: Annotated[
        Path | None,
        typer.Option("--slide", help="The slide, to take its corrected fields from the project.", show_default=False),
    ] = None,
    fields: Annotated[
        bool, typer.Option("--fields", help="Also write each corrected field as an image and its labels.")
    ] = False,
    with_blind: WithBlindOption = False,
    as_json: JsonOption = False,
    project: Annotated[
        Path | None, typer.Option("--project", help="Project folder.", show_default="that of the window")
    ] = None,
    registry: RegistryOption = None,
) -> None:
    """Write the labels of a slide: GeoJSON for QuPath in pixels of level 0, OME-Zarr, the density map.

    With --slide, fields that were corrected in the project win over the prediction. The exit code is 1 if one of them
    cannot be read and is left out.
    """
    if slide is None and (fields or project is not None):
        raise MedSegError("which slide is meant? Add --slide FILE; its fields are found in the project by its path.")
    fields_folder = output / "fields" if fields else None
    corrected, of_fields, left_out = _write_fields(
        prediction, slide, project, registry, fields_folder, with_blind=with_blind
    )
    written = export_slide(prediction, output, split_words(formats), corrected) + of_fields
    if as_json:
        echo_json({"files": [str(path) for path in written], "fields": len(corrected)})
    else:
        for path in written:
            echo(str(path))
        if slide is not None:
            echo(f"{len(corrected)} corrected field{'' if len(corrected) == 1 else 's'}")
    if left_out:
        raise MedSegError(left_out)


def _write_fields(
    prediction: Path,
    slide: Path | None,
    project: Path | None,
    registry: Path | None,
    folder: Path | None,
    *,
    with_blind: bool,
) -> tuple[list[CorrectedField], list[Path], str]:
    """Return the corrected fields of a slide, what was written of them if a folder is given, and what is left out."""
    manifest = read_manifest(prediction)
    if slide is None:
        return [], [], ""
    with contextlib.closing(open_slide(slide)) as opened, contextlib.ExitStack() as stack:
        if SlideIdentity.of(opened) != manifest.slide:
            raise MedSegError(f"{prediction} is the prediction of another slide than {slide.name}.")
        ws = stack.enter_context(open_workspace(project, registry))
        rows, n_left_out = list_corrected_fields(ws, slide, manifest.task, with_blind=with_blind)
        tell_left_out(n_left_out)
        written, left_out = ([], "") if folder is None else write_fields(ws, rows, folder)
        corrected = read_corrected_fields(ws, opened, rows)  # tells which it cannot read
        if not left_out and len(corrected) < len(rows):
            left_out = f"{len(rows) - len(corrected)} of {len(rows)} corrected fields cannot be read and are left out."
        return corrected, written, left_out
