"""`medseg train --show-batch`: what a network would see, without training it."""

import tempfile
from pathlib import Path

from napari_medseg.cli.console import echo
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow import run_control
from napari_medseg.workflow.workspace import Workspace


def show_batch(picture: Path | None, source: Path, data: Path | None) -> None:
    """Write the picture of a run folder, or of a base recipe whose images lie under `data`.

    Raises
    ------
    MedSegError
        If `source` is neither, a recipe comes without its data or a run folder with any, or nobody asked for a picture.
    """
    from training.evaluation.batch_preview import write_batch_preview as draw

    if picture is None:
        raise MedSegError(f"{source} is for --show-batch; corrections are trained on without it. Add --show-batch PNG.")
    picture.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        if data is not None:
            raise MedSegError(f"{source} is a run folder, which knows its images. Leave --data out.")
        draw(source, picture)
    else:
        _show_recipe(picture, source, data)
    echo(str(picture))


def last_run_folder(ws: Workspace, task: str) -> Path:
    """Return the folder of the project's newest run; raise `MedSegError` where there is none."""
    run = run_control.get_last_run(ws, task)
    if run is None:
        raise MedSegError(f"the project has no run of task {task!r} yet. Name a run folder or a base recipe.")
    return run_control.get_run_folder(ws, run)


def _show_recipe(picture: Path, recipe: Path, data: Path | None) -> None:
    from training.evaluation.batch_preview import write_batch_preview as draw
    from training.from_folders.base_model import make_run
    from training.from_folders.base_recipe import read_model_recipe

    if data is None:
        raise MedSegError(f"{recipe.name} is no run folder. For a base recipe add --data, the folder of its images.")
    base = read_model_recipe(recipe).model_copy(update={"encoder_weights": "", "parent": ""})  # no need to see far
    with tempfile.TemporaryDirectory() as folder:
        make_run(base, data, data, Path(folder))
        draw(Path(folder), picture)
