"""Arguments and options that the commands of slides share."""

from pathlib import Path
from typing import Annotated

import typer

SLIDE_TASK = "nuclei"
_KINDS = "SVS, NDPI, MRXS, SCN, TIFF pyramid, or OME-Zarr (folder, address)."
SlideArgument = Annotated[
    Path,
    typer.Argument(metavar="SLIDE", help=_KINDS),
]
SlidesArgument = Annotated[list[Path], typer.Argument(metavar="SLIDE...", help=_KINDS)]
