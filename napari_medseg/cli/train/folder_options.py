"""The options of `medseg train folders` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.mask_options import MASKS
from napari_medseg.cli.train.run_options import check_png_suffix
from napari_medseg.core.atomic_io import refuse_unwritable_folder

RUNS_FOLDER = "medseg-runs"
SPLIT, INSTEAD = "Selection of images", "Instead of training"

ImagesOption = Annotated[Path, typer.Option("--images", help="Folder of images.")]
MasksOption = Annotated[
    Path,
    typer.Option(
        "--masks", help="Folder of masks (PNG, TIFF, NIfTI, Aperio XML) named like the images, or a COCO file."
    ),
]


def _check_run_folder(out: Path | None) -> Path | None:
    """Refuse a run folder, given or default, that cannot be written to, before the files are checked."""
    refuse_unwritable_folder(out or Path(RUNS_FOLDER))
    return out


OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        callback=_check_run_folder,
        help="Run folder; new or empty.",
        show_default=f"{RUNS_FOLDER}/NAME-TIME",
    ),
]
NameOption = Annotated[str, typer.Option("--name", help="Name of the model and of a new task.")]
LabelsOption = Annotated[
    str,
    typer.Option(
        "--labels", help="New task: names of the mask values 1, 2 ..., such as bone,cartilage.", rich_help_panel=MASKS
    ),
]
TaskOption = Annotated[
    str,
    typer.Option("--task", "-t", help="Existing task instead of --labels, such as lungs.", rich_help_panel=MASKS),
]
InstancesOption = Annotated[
    bool,
    typer.Option("--instances", help="Each object has its own mask value, as with nuclei.", rich_help_panel=MASKS),
]
UnlabelledOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--unlabelled",
        metavar="DIR",
        help="Folder of more images of the same kind without masks, to learn from; may be repeated.",
        show_default=False,
    ),
]
GroupByOption = Annotated[
    str,
    typer.Option(
        "--group-pattern",
        "--group-by",
        help="Where the patient stands in a file name: '{patient}_*', or a regular expression. All images of a patient "
        "go to the same split. --check shows the patients.",
        show_default="as the files say",
        rich_help_panel=SPLIT,
    ),
]
HoldOutOption = Annotated[
    str,
    typer.Option(
        "--hold-out",
        help="Patients for evaluation only, such as p3,p7.",
        show_default="one in five",
        rich_help_panel=SPLIT,
    ),
]
JoinOption = Annotated[
    bool,
    typer.Option("--join-copies", help="Patients with an image in common become one patient.", rich_help_panel=SPLIT),
]
SkipOption = Annotated[
    bool,
    typer.Option("--skip-mismatches", help="Exclude files that do not fit.", rich_help_panel=SPLIT),
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check", help="Only list what does not fit; exit code 1 if training would not start.", rich_help_panel=INSTEAD
    ),
]
PrepareOption = Annotated[
    bool,
    typer.Option(
        "--prepare",
        help="Only make the run folder, for training with torchrun.",
        rich_help_panel=INSTEAD,
    ),
]
PreviewOption = Annotated[
    Path | None,
    typer.Option(
        "--preview",
        metavar="PNG",
        help="Only draw what the network would see.",
        callback=check_png_suffix,
        rich_help_panel=INSTEAD,
        show_default=False,
    ),
]
