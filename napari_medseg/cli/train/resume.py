"""`medseg train resume`: resume a run that was paused, interrupted or only prepared."""

from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import make_progress_console
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    OptionalTaskOption,
    ProjectOption,
    RegistryOption,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.cli.train.folder_run import evaluate_and_echo, train_folder_run
from napari_medseg.cli.train.project_run import find_resumable_run, finish_project_run, follow_project_run
from napari_medseg.cli.train.run_options import (
    PromoteOption,
    ReasonOption,
    check_device,
    check_reason,
    get_start_time,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow import run_control
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import RECIPE_FILE, Finished, ensure_no_trainer, get_events_offset, read_events

RunArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN_DIR",
        help="Folder of a run of medseg train folders. Without it: the run of the project.",
        show_default=False,
    ),
]


def resume_run(
    context: typer.Context,
    run_dir: RunArgument = None,
    task: OptionalTaskOption = None,
    promote: PromoteOption = False,
    reason: ReasonOption = "",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Resume a paused, interrupted or prepared run.

    The result is the same as without the interruption, on the same kind of device. If that is missing, another one is
    used. If torchrun has finished the training, the model is evaluated.
    """
    device = check_device(device)
    if run_dir is None:
        check_reason(context, reason, promote=promote)
        _resume_project_run(
            context, task or DEFAULT_TASK, (project, registry), device, promote=promote, reason=reason, as_json=as_json
        )
        return
    if task or promote or reason or project or registry:
        context.fail(
            "--task, --promote, --reason, --project and --registry are for the run of a project. Leave them "
            "out if you give RUN_DIR."
        )
    _resume_folder_run(run_dir, device, get_start_time(context), as_json=as_json)


def _resume_project_run(
    context: typer.Context,
    task: str,
    folders: tuple[Path | None, Path | None],
    device: str | None,
    *,
    promote: bool,
    reason: str,
    as_json: bool,
) -> None:
    with open_workspace(*folders) as ws:
        check_task(ws, task)
        run = find_resumable_run(ws, task)
        folder = run_control.get_run_folder(ws, run)
        offset = get_events_offset(folder)
        _set_device(folder, device)
        run = run_control.resume(ws, run, get_start_time(context))
        follow_project_run(ws, run, offset, as_json=as_json)
        finish_project_run(ws, run, promote=promote, reason=reason, as_json=as_json)


def _set_device(run_dir: Path, device: str | None) -> None:
    """Let a run go on on another device, also one that had to move to the CPU."""
    if device is None:
        return
    ensure_no_trainer(run_dir)
    recipe = read_recipe(run_dir / RECIPE_FILE)
    write_recipe(update_recipe(recipe, {"run": {"device": device}}), run_dir / RECIPE_FILE)


def _resume_folder_run(run_dir: Path, device: str | None, since: float, *, as_json: bool) -> None:
    if not (run_dir / RECIPE_FILE).is_file():
        raise MedSegError(f"{run_dir} is no run folder: it contains no {RECIPE_FILE}. Give the folder of a run.")
    if any(isinstance(event, Finished) for event, _ in read_events(run_dir)):
        _evaluate_finished(run_dir, as_json=as_json)
        return
    _set_device(run_dir, device)
    budget_s = read_recipe(run_dir / RECIPE_FILE).run.budget_s
    train_folder_run(run_dir, budget_s, make_progress_console(quiet=as_json), since, as_json=as_json)


def _evaluate_finished(run_dir: Path, *, as_json: bool) -> None:
    """Complete and print the result of a run that other processes trained, such as those of `torchrun`."""
    from training.from_folders.folder_run import is_completed

    if is_completed(run_dir):
        raise MedSegError(f"the run in {run_dir} is finished and evaluated. Start a new one to train again.")
    evaluate_and_echo(run_dir, as_json=as_json)
