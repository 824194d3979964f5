"""Options that several commands share, and the project, registry and model that they name."""

import contextlib
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from napari_medseg.core.atomic_io import refuse_unwritable_file, refuse_unwritable_folder
from napari_medseg.core.containers.array_layout import parse_layout
from napari_medseg.core.containers.choice import choose_sources, refuse_unchosen_parts
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION, allow_memory, parse_size
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.label_files.registry import LABEL_FORMATS, LabelFormat
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.project.lost_database import ensure_has_database
from napari_medseg.core.records import Case
from napari_medseg.inference.runtimes.runtime_names import RuntimeWish, choose_runtime, parse_runtime
from napari_medseg.inference.tuning.settings import make_tuning_settings
from napari_medseg.workflow.preferences import read_preferences
from napari_medseg.workflow.remote.remote_predictor import is_server, load_remote_predictor
from napari_medseg.workflow.workspace import Workspace, get_user_data_dir

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor

DEFAULT_TASK = "lungs"


def _allow_memory(context: typer.Context, amount: str | None) -> str | None:
    """Allow it until the command ends; the processes that it starts are told."""
    if amount is not None:
        try:
            context.with_resource(allow_memory(parse_size(amount)))
        except MedSegError as error:
            raise typer.BadParameter(str(error)) from error
    return amount


def check_output_folder(folder: Path | None) -> Path | None:
    """Refuse a folder that cannot be written to before the command starts its work: a callback of options."""
    if folder is not None:
        refuse_unwritable_folder(folder)
    return folder


def check_output_file(file: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the command starts its work: a callback of options."""
    if file is not None:
        refuse_unwritable_file(file)
    return file


def _check_runtime(name: str | None) -> str | None:
    """Refuse a runtime that is unknown or not installed before the command starts its work."""
    if name is not None:
        parse_runtime(name)
    return name


ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Project folder.", show_default="that of the window"),
]
RegistryOption = Annotated[
    Path | None,
    typer.Option("--registry", help="Folder of the models that you trained.", show_default="that of the window"),
]
TaskOption = Annotated[str, typer.Option("--task", "-t", help="Task, see medseg tasks list.")]
OptionalTaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help="Task, see medseg tasks list.", show_default=DEFAULT_TASK),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Model version, such as lungs-unet@4.", show_default="the live one")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu, cuda, cuda:1 or mps; see medseg doctor. Where a command predicts, also remote or wss://HOST:PORT.",
        show_default="the fastest one that computes",
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        callback=_check_runtime,
        help="auto (the fastest that was measured), torch or openvino; for CPUs.",
        show_default="that of the preferences",
    ),
]
LabelFormatOption = Annotated[
    str,
    typer.Option(
        "--format", "--suffix", help=f"File format: {', '.join(LABEL_FORMATS)}; or a suffix, such as .nii.gz."
    ),
]
NamesOption = Annotated[
    str,
    typer.Option(
        "--names",
        help="What files are named after: stem (the input file; a DICOM series: a label of its patient and its series "
        "number), group (that label; in a project with the number of the case), or patient (PatientID).",
    ),
]
StraightenOption = Annotated[
    bool,
    typer.Option(
        "--straighten",
        help="Write series with gantry tilt on an upright grid in the patient, instead of slice on slice.",
    ),
]
ClearNamesOption = Annotated[
    bool,
    typer.Option("--clear-names", help="Also print file names, paths and groups in clear, from the project's table."),
]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(
        MAX_MEMORY_OPTION,
        callback=_allow_memory,
        metavar="AMOUNT",
        help="Memory that the pixels of one image may take, such as 8GB; larger ones are refused unread.",
        show_default="a quarter of the free memory, and 200 times the size of the file",
    ),
]
"""For all commands that read images. Its callback does the work, so the commands do not use the value."""
SeriesOption = Annotated[
    str | None,
    typer.Option(
        "--series",
        help="Which images of a study, an archive or a file of several volumes or phases: numbers of the list (1,3-5), "
        "a part of a name, all, or list, which only prints the list.",
        show_default="all; of a file of several volumes or phases one must be chosen",
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        help="What the axes of .npy and .npz files are, a letter each: N separate images, Z slices, Y rows, X columns, "
        "C colours; such as YXZ.",
        show_default="ZYX or YX, with C last",
    ),
]
SpacingOption = Annotated[
    str | None,
    typer.Option("--spacing", help="Millimetres of their voxels (slices, rows, columns), such as 2.5,0.7,0.7."),
]
WithIdentityOption = Annotated[
    bool,
    typer.Option(
        "--with-identity",
        help="DICOM-SEG and RTSTRUCT: agree that the files hold name and ID of the patient, as their series does.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


def get_project_dir(project: Path | None) -> Path:
    """Return the project folder of an option, or the default one of the window."""
    return project or get_user_data_dir() / "project"


def get_registry_dir(registry: Path | None) -> Path:
    """Return the registry folder of an option, or the default one of the window."""
    return registry or get_user_data_dir() / "registry"


def open_registry(registry: Path | None) -> ModelRegistry:
    """Open only the registry of models, so that this works while a window has the project open."""
    return ModelRegistry(get_registry_dir(registry), BUNDLED_MODELS)


@contextlib.contextmanager
def open_workspace(project: Path | None, registry: Path | None) -> Iterator[Workspace]:
    """Open the project of an option for one command, or that of the window.

    Raises
    ------
    MedSegError
        If a window has the project open, or the folder holds none: a slip in a name makes no project.
    """
    ensure_has_database(get_project_dir(project) / DATABASE)
    with open_or_make_workspace(project, registry) as ws:
        yield ws


@contextlib.contextmanager
def open_or_make_workspace(project: Path | None, registry: Path | None) -> Iterator[Workspace]:
    """Open the workspace for a command that brings cases, and make the project if there is none; errors as above."""
    ws = Workspace.open(get_project_dir(project), get_registry_dir(registry))
    try:
        yield ws
    except BaseException:
        with contextlib.suppress(MedSegError, OSError, sqlite3.Error):  # closing must not hide the error
            ws.close()
        raise
    ws.close()


def choose_images(
    sources: Sequence[ImageSource], series: str | None, axes: str | None, spacing: str | None
) -> tuple[list[ImageSource], list[str]]:
    """Return the images that the options of a command mean, and messages about those of which one must be chosen.

    Raises
    ------
    MedSegError
        If the options mean none, or are wrong.
    """
    if spacing and not axes:
        raise MedSegError("--spacing says the voxel size of arrays whose axes are given. Add --axes, such as ZYX.")
    layout = parse_layout(axes, spacing or "") if axes else None
    laid_out: list[ImageSource] = []
    problems: list[str] = []
    for source in sources:
        try:
            laid_out += [source] if layout is None or source.array is None else source.lay_out(layout)
        except MedSegError as error:
            problems.append(str(error))
    if series is not None:
        return choose_sources(laid_out, series), problems
    chosen, unclear = refuse_unchosen_parts(laid_out)
    return chosen, problems + unclear


def choose_model_card(models: ModelRegistry, task: str, model: str | None) -> ModelCard:
    """Return the card of a version, or of the live one; raise `MedSegError` if it is for another task, or none."""
    models.read_task_catalog().get_task(task)
    card = models.get_live_card(task) if model is None else models.get_card(model)
    if card.task != task:
        raise MedSegError(f"{card.id} is for the task {card.task!r}, not {task!r}. Add --task {card.task}.")
    return card


def choose_wish(models: ModelRegistry, runtime: str | None) -> RuntimeWish:
    """Return the runtime of an option, or that of the preferences; raise `MedSegError` if the option is wrong."""
    return choose_runtime(read_preferences(models).runtime) if runtime is None else parse_runtime(runtime)


def load_predictor(
    models: ModelRegistry, model: str, device: str | None, runtime: str | None = None, *, is_constant: bool = False
) -> "Predictor":
    """Load a version, and the model that finds its region of interest if it needs one; or let a server predict.

    With `is_constant` all images are predicted in one way, see `TuningSettings`.

    Raises
    ------
    MedSegError
        If the version or the runtime cannot be used.
    """
    if device is not None and is_server(device):
        if runtime is not None:
            raise MedSegError("--runtime is for this computer; a server chooses its own (medseg serve --runtime).")
        return cast("Predictor", load_remote_predictor(models, model, device))
    from napari_medseg.inference.predictor import Predictor

    tuning = make_tuning_settings(choose_wish(models, runtime), is_constant=is_constant)
    roi_folder = models.find_roi_folder(models.get_card(model))
    return Predictor.load(models.get_folder(model), device, roi_folder, tuning)


def agree_to_identity(wanted: LabelFormat, agreed: bool) -> None:
    """Ask whether labels that name the patient are to be written, before the command starts its work.

    Raises
    ------
    MedSegError
        If a person does not agree, or cannot be asked.
    """
    if not wanted.names_patient or agreed:
        return
    told = f"{wanted.name} holds the name and ID of the patient, so that a PACS places it on its series"
    if not sys.stdin.isatty() or not typer.confirm(f"{told}. Write it?", err=True):
        raise MedSegError(f"{told}. Add --with-identity to agree; medseg share writes images and labels without them.")


def describe_identity(case: Case) -> dict[str, object]:
    """Return the clear names of a case as plain data, for ``--clear-names``."""
    return {"file_name": case.file_name, "sources": list(case.sources)}


def split_words(text: str) -> list[str]:
    """Split text at commas; empty words are dropped."""
    return [word.strip() for word in text.split(",") if word.strip()]
