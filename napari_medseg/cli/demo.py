"""`medseg demo`: the whole loop on bundled real data, in the real window."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    scripted: Annotated[
        bool, typer.Option("--scripted", help="Let the window go through the whole loop by itself.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for pictures, exports and the report of --scripted.")
    ] = Path("demo-output"),
) -> None:
    """Open napari with the MedSeg dock and a real chest CT, in a project of its own.

    With --scripted: predict, correct, accept, export, retrain within 60 s, compare and promote, without a person.
    """
    # Not at the top of the file: the other commands must run where no Qt is installed.
    from napari_medseg.plugin.demo.demo import run_demo

    run_demo(out if scripted else None)
