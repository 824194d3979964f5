"""The options of `medseg train folders` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.mask_options import MASKS
from napari_medseg.cli.options import split_words
from napari_medseg.cli.train.run_options import check_png_suffix
from napari_medseg.core.atomic_io import refuse_unwritable_folder
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.file_names import use_slashes

RUNS_FOLDER, SLICES_FOLDER = "medseg-runs", "slices"
SPLIT, INSTEAD = "Selection of images", "Instead of training"

ImagesOption = Annotated[Path, typer.Option("--images", help="Folder of images.")]
MasksOption = Annotated[
    Path,
    typer.Option(
        "--masks",
        help="Folder of masks (PNG, TIFF, NIfTI, Aperio XML) named like the images, or of folders of each label, or a "
        "COCO file.",
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
        help="Patients for evaluation only, such as p3,p7, or a file such as test.txt with one on each line. The "
        "name of an image means its patient.",
        show_default="one in five",
        rich_help_panel=SPLIT,
    ),
]
ValidateOption = Annotated[
    str,
    typer.Option(
        "--validate",
        help="Patients that choose the best epoch and are not trained on, given as for --hold-out.",
        show_default="one in five of the others",
        rich_help_panel=SPLIT,
    ),
]


def read_split(text: str) -> tuple[str, ...]:
    """Return the patients or images that an option names: words with commas, or the lines of a file that ends in .txt.

    Of a line such as ``images/p3_007.jpg`` the name without folder and known suffix counts; lines that begin with ``#``
    are left out.

    Raises
    ------
    MedSegError
        If the file cannot be read as text, or names nothing.
    """
    from training.data.labelled_cases import get_stem

    if Path(text).suffix.lower() != ".txt":
        return tuple(split_words(text))
    path = Path(text)
    try:
        path = path.expanduser()
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:  # a home folder that is not known
        raise MedSegError(
            f"cannot read {path}: {get_reason(error)}. Give a text file with one patient a line."
        ) from error

    named = (line.strip() for line in lines if not line.lstrip().startswith("#"))
    names = tuple(get_stem(Path(use_slashes(name))) for name in named if name)
    if not names:
        raise MedSegError(f"{path} names no patient and no image. Write one a line, or leave the option out.")
    return names


JoinOption = Annotated[
    bool,
    typer.Option("--join-copies", help="Patients with an image in common become one patient.", rich_help_panel=SPLIT),
]
SlicesOption = Annotated[
    bool,
    typer.Option(
        "--slices",
        help="Each slice of a stack is an image of its own, of another patient unless --group-pattern says so.",
        rich_help_panel=SPLIT,
    ),
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
