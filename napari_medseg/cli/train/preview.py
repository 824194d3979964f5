"""`medseg train preview`: draw the patches that a network sees in training, without training it."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo
from napari_medseg.cli.mask_options import MaskOrientationOption, SameVoxelsOption
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    MaxMemoryOption,
    OptionalTaskOption,
    ProjectOption,
    RegistryOption,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.cli.train.run_options import check_png_suffix
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskPlacement
from napari_medseg.workflow import run_control

PngArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PNG", help="PNG file to write, such as batch.png.", callback=check_png_suffix, show_default=False
    ),
]
SourceArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="SOURCE",
        help="A run folder, or a base recipe (JSON) with --data. Without it: the last run of the project.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder with the images of a base recipe.", show_default=False)
]


def preview_batch(
    context: typer.Context,
    png: PngArgument,
    source: SourceArgument = None,
    data: DataOption = None,
    mask_orientation: MaskOrientationOption = None,
    same_voxels: SameVoxelsOption = False,
    task: OptionalTaskOption = None,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Draw what a network sees in training.

    The PNG file shows augmented patches of the first batches with the outlines of their labels. Nothing is trained.
    """
    placement = MaskPlacement(mask_orientation, same_voxels)
    is_recipe = source is not None and not source.is_dir()
    if placement != AS_STATED and not is_recipe:
        context.fail("--mask-orientation and --same-voxels are for a base recipe. A run has read its masks already.")
    if source is None:
        if data is not None:
            context.fail("--data is for a base recipe. Name the recipe as SOURCE.")
        write_run_preview(_find_last_run_folder(task or DEFAULT_TASK, project, registry), png)
        return
    if task or project or registry:
        context.fail(
            "--task, --project and --registry are for the last run of a project. Leave out either them or SOURCE."
        )
    if not source.is_dir():
        _write_recipe_preview(source, data, png, placement)
        return
    if data is not None:
        raise MedSegError(f"{source} is a run folder, which already names its images. Leave --data out.")
    write_run_preview(source, png)


def write_run_preview(run_dir: Path, png: Path) -> None:
    """Write the PNG file of a run folder and print its path.

    Raises
    ------
    MedSegError
        If the folder does not contain a complete run.
    """
    from training.reports.batch_preview import write_batch_preview

    png.parent.mkdir(parents=True, exist_ok=True)
    write_batch_preview(run_dir, png)
    echo(str(png))


def _find_last_run_folder(task: str, project: Path | None, registry: Path | None) -> Path:
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        run = run_control.get_last_run(ws, task)
        if run is None:
            raise MedSegError(f"the project has no run of the task {task!r} yet. Give a run folder or a base recipe.")
        return run_control.get_run_folder(ws, run)


def _write_recipe_preview(recipe: Path, data: Path | None, png: Path, placement: MaskPlacement) -> None:
    from training.from_folders.base_model import make_run
    from training.from_folders.base_recipe import read_model_recipe

    if data is None:
        raise MedSegError(f"{recipe.name} is not a run folder. A base recipe needs --data, the folder of its images.")
    base = read_model_recipe(recipe)
    if placement != AS_STATED:
        said = {"mask_orientation": placement.orientation, "same_voxels": placement.same_voxels}
        base = base.model_copy(update={"sources": tuple(each.model_copy(update=said) for each in base.sources)})
    base = base.model_copy(update={"encoder_weights": "", "parent": ""})  # the preview needs no weights
    with tempfile.TemporaryDirectory() as folder:
        make_run(base, data, data, Path(folder))
        write_run_preview(Path(folder), png)
