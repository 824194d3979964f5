"""`medseg demo`: the whole loop on bundled real data, in the real window."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

WINDOW_MODULE = "napari_medseg.plugin.demo"


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
    # By name and at call time: the command line lies below the window and must run where no Qt is installed.
    importlib.import_module(WINDOW_MODULE).run(out if scripted else None)
