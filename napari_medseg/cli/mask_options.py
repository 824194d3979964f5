"""Options that tell what masks mean and how they lie, shared by the commands that read masks."""

from typing import Annotated

import typer

from napari_medseg.cli.options import split_words
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import MaskOrientation

MASKS = "Meaning of the masks"

ValuesOption = Annotated[
    str,
    typer.Option(
        "--values",
        help="Mask value of each label if not 1, 2 ..., such as 128,255. 31+32,40: the first label has two.",
        rich_help_panel=MASKS,
    ),
]
BinariseOption = Annotated[
    bool,
    typer.Option("--binarise", help="One label: all mask values except 0. Also for JPEG.", rich_help_panel=MASKS),
]
IgnoreOption = Annotated[
    int | None,
    typer.Option(
        "--ignore",
        help="Mask value of unlabelled pixels, such as 255. Training and evaluation exclude them.",
        rich_help_panel=MASKS,
        show_default=False,
    ),
]
MaskOrientationOption = Annotated[
    MaskOrientation | None,
    typer.Option(
        "--mask-orientation",
        help="Masks of turned photographs lie as the image is shown, or as it is stored.",
        show_default="by the size, else shown",
        rich_help_panel=MASKS,
    ),
]
SameVoxelsOption = Annotated[
    bool,
    typer.Option(
        "--same-voxels",
        help="Masks have the same voxels as their images, in the same order: ignore the headers of the masks.",
        rich_help_panel=MASKS,
    ),
]


def parse_values(values: str) -> tuple[tuple[int, ...], ...]:
    """Return the mask values of each label: "31+32,40" gives ((31, 32), (40,)).

    Raises
    ------
    MedSegError
        If a value is not a whole number.
    """
    return tuple(tuple(_parse_value(part) for part in word.split("+")) for word in split_words(values))


def _parse_value(word: str) -> int:
    if not word.strip().isdecimal():
        raise MedSegError(f"--values takes whole numbers, as in 31+32,40, not {word!r}.")
    return int(word)
