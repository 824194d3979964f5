"""`medseg demo`: from the image to the retrained model on bundled real data, in the real window."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.core.atomic_io import refuse_unwritable_folder


def demo(
    scripted: Annotated[bool, typer.Option("--scripted", help="Run all steps without a user.")] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="With --scripted: folder for screenshots, exports and report.")
    ] = Path("demo-output"),
) -> None:
    """Open napari with a chest CT to try the program.

    The demo uses a separate project. With --scripted it predicts, corrects, accepts, exports, retrains within 90 s,
    compares and promotes without a user.
    """
    # Not at the top of the file: the other commands must run where no Qt is installed.
    from napari_medseg.plugin.demo.demo import run_demo

    if scripted:
        refuse_unwritable_folder(out)
    run_demo(out if scripted else None)
