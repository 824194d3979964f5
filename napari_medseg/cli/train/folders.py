"""`medseg train folders`: train a model on folders of images and masks, without a project."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.mask_options import (
    BinariseOption,
    IgnoreOption,
    MaskOrientationOption,
    SameVoxelsOption,
    ValuesOption,
    parse_values,
)
from napari_medseg.cli.options import (
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    RegistryOption,
    open_registry,
)
from napari_medseg.cli.train.folder_options import (
    RUNS_FOLDER,
    SLICES_FOLDER,
    CheckOption,
    GroupByOption,
    HoldOutOption,
    ImagesOption,
    InstancesOption,
    JoinOption,
    LabelsOption,
    MasksOption,
    NameOption,
    OutOption,
    PrepareOption,
    PreviewOption,
    SkipOption,
    SlicesOption,
    TaskOption,
    UnlabelledOption,
    ValidateOption,
    read_split,
)
from napari_medseg.cli.train.folder_run import train_folder_run
from napari_medseg.cli.train.folder_task import choose_name_and_task
from napari_medseg.cli.train.preview import write_run_preview
from napari_medseg.cli.train.run_options import (
    BackboneOption,
    BudgetOption,
    EpochsOption,
    ModelOption,
    RecipeOption,
    SeedOption,
    get_start_time,
    read_run_overrides,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import make_file_stem
from napari_medseg.core.formats.mask_placement import MaskPlacement
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import Task

if TYPE_CHECKING:
    from training.from_folders.default_recipe import RecipeOverrides
    from training.from_folders.folder_data import FolderData
    from training.from_folders.mask_pairing import PairingResult
    from training.from_folders.mask_values import MaskEncoding
    from training.start_plan import Donor


def train_on_folders(
    context: typer.Context,
    images: ImagesOption,
    masks: MasksOption,
    unlabelled: UnlabelledOption = None,
    labels: LabelsOption = "",
    task: TaskOption = "",
    values: ValuesOption = "",
    binarise: BinariseOption = False,
    ignore: IgnoreOption = None,
    instances: InstancesOption = False,
    mask_orientation: MaskOrientationOption = None,
    same_voxels: SameVoxelsOption = False,
    group_by: GroupByOption = "",
    hold_out: HoldOutOption = "",
    validate: ValidateOption = "",
    join_copies: JoinOption = False,
    slices: SlicesOption = False,
    skip_mismatches: SkipOption = False,
    check: CheckOption = False,
    prepare: PrepareOption = False,
    preview: PreviewOption = None,
    name: NameOption = "",
    out: OutOption = None,
    epochs: EpochsOption = None,
    budget: BudgetOption = None,
    seed: SeedOption = 0,
    recipe: RecipeOption = None,
    model: ModelOption = "",
    backbone: BackboneOption = "",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Train a model on folders of images and masks.

    All files are checked first. The images decide what --recipe, --model and --epochs do not set. No project is used.
    Example: `medseg train folders --images images --masks masks --labels right_lung,left_lung`
    """
    if problem := _find_conflict(check + prepare + (preview is not None), has_labels=bool(labels), has_task=bool(task)):
        context.fail(problem)
    models, console, both = open_registry(registry), make_progress_console(quiet=as_json), (images, masks)
    name, made = choose_name_and_task(name, task, labels, both, models.read_task_catalog(), instances=instances)
    encoding = _make_encoding(made, values, binarise, ignore, MaskPlacement(mask_orientation, same_voxels))
    data = _make_data((name, *both, encoding), group_by, (hold_out, validate), join_copies, unlabelled)
    run_dir = out or Path(RUNS_FOLDER) / make_file_stem(f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    with _check_data(data, None if check or preview else run_dir, cuts=slices) as (data, pairs):
        _report_mismatches(pairs, console, raises=not (skip_mismatches or check))
        if check:
            raise _end_check(data, pairs, skips=skip_mismatches)
        overrides = read_run_overrides(recipe, epochs, budget, seed, device, (model, backbone))
        if preview is None:
            _fill_run(data, pairs, run_dir, overrides, models, console)
        else:
            _write_preview(data, pairs, _list_donors(models), overrides, preview)
    if prepare:
        _echo_prepared(run_dir.absolute(), as_json=as_json)
    elif preview is None:
        train_folder_run(run_dir, budget, console, get_start_time(context), as_json=as_json)


def _make_encoding(
    task: Task, values: str, binarise: bool, ignore: int | None, placement: MaskPlacement
) -> "MaskEncoding":
    from training.from_folders.mask_values import MaskEncoding

    return MaskEncoding(task, parse_values(values), binarise, ignore, placement)


def _make_data(
    described: "tuple[str, Path, Path, MaskEncoding]",
    group_by: str,
    split: tuple[str, str],
    join_copies: bool,
    unlabelled: Sequence[Path] | None,
) -> "FolderData":
    """Return the data as options name them: name, folders, encoding; what is held out and what validates."""
    from training.from_folders.folder_data import FolderData

    hold_out, validate = map(read_split, split)
    more = tuple(unlabelled or ())
    return FolderData(
        *described,
        group_by=group_by,
        hold_out=hold_out,
        validate=validate,
        joins_copies=join_copies,
        unlabelled=more,
    )


@contextlib.contextmanager
def _check_data(
    data: "FolderData", run_dir: Path | None, *, cuts: bool
) -> "Iterator[tuple[FolderData, PairingResult]]":
    """Yield data and what was found in it; `cuts` makes images of the slices of stacks.

    These are kept in a run folder, unless an error follows; without a run folder they are temporary.
    """
    from training.from_folders.folder_data import check_folder_data
    from training.from_folders.unrelated_slices import check_slices

    if not cuts:
        yield data, check_folder_data(data)
        return
    with contextlib.ExitStack() as unused:
        folder = (run_dir or Path(unused.enter_context(tempfile.TemporaryDirectory()))) / SLICES_FOLDER
        if folder.exists():
            raise MedSegError(f"{folder} holds the slices of another run. Choose another folder with --out.")
        unused.callback(shutil.rmtree, folder, ignore_errors=True)
        yield check_slices(data, folder)
        if run_dir is not None:
            unused.pop_all()


def _fill_run(
    data: "FolderData",
    pairs: "PairingResult",
    run_dir: Path,
    overrides: "RecipeOverrides",
    models: ModelRegistry,
    console: Console,
) -> None:
    """Fill a run folder; print the patients, the size of the run, and what it starts from."""
    from training.from_folders.folder_data import describe_split
    from training.from_folders.folder_run import fill_run

    base = fill_run(data, pairs.cases, _list_donors(models), run_dir, overrides, models)
    start = base.card.lineage.began_with
    console.print(describe_split(data, pairs.cases), highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(pairs.cases)} images, {base.recipe.schedule.n_epochs} epochs, starts from {start}")


def _list_donors(models: ModelRegistry) -> "list[Donor]":
    return [(card, models.get_folder(card.id)) for card in models.list_versions()]


def _end_check(data: "FolderData", pairs: "PairingResult", *, skips: bool) -> typer.Exit:
    """Print the patients and how many pairs fit; return the exit, with code 1 if a training would not start."""
    from training.from_folders.folder_data import choose_cases, describe_split

    if pairs.cases:
        echo(describe_split(data, pairs.cases))
    echo(f"{len(pairs.cases)} pairs fit; nothing was trained.")
    if pairs.cases:
        choose_cases(data, pairs.cases)  # raises what a training would
    return typer.Exit(0 if pairs.can_train(skips=skips) else 1)


def _find_conflict(n_modes: int, *, has_labels: bool, has_task: bool) -> str:
    """Return which options cannot be used together; empty if there is no conflict."""
    if n_modes > 1:
        return "--check, --prepare and --preview cannot be combined. Give one of them."
    return "Give either --labels, for a new task, or --task, for an existing one." if has_labels and has_task else ""


def _report_mismatches(pairs: "PairingResult", console: Console, *, raises: bool) -> None:
    """Print the files that do not fit; if `raises`, raise `MedSegError` for those that block training."""
    from training.from_folders.mask_pairing import format_mismatches

    lines = format_mismatches(pairs.mismatches)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    n_blocking = len(pairs.blocking_mismatches)
    if n_blocking and raises:
        raise MedSegError(
            f"{n_blocking} of the files do not fit, as listed{'' if not console.quiet else ': ' + '; '.join(lines)}. "
            "Correct them, or add --skip-mismatches to exclude them. Nothing was trained."
        )


def _write_preview(
    data: "FolderData",
    pairs: "PairingResult",
    donors: "Sequence[Donor]",
    overrides: "RecipeOverrides",
    png: Path,
) -> None:
    """Make a temporary run, draw its first batches to a PNG file, and delete the run."""
    from training.from_folders.base_model import make_run
    from training.from_folders.folder_run import prepare_model_recipe

    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        base = prepare_model_recipe(data, pairs.cases, donors, run_dir, overrides)
        random = base.model_copy(update={"encoder_weights": "none"})  # the preview needs no weights
        make_run(random, run_dir, run_dir, run_dir)
        write_run_preview(run_dir, png)


def _echo_prepared(folder: Path, *, as_json: bool) -> None:
    """Print how to train a prepared run in several processes, and how to evaluate it afterwards."""
    train = f"PYTHONSAFEPATH=1 torchrun --nproc-per-node 2 -m training {folder}"
    resume = f"medseg train resume {folder}"
    if as_json:
        echo_json({"folder": str(folder), "train": train, "judge": resume})
        return
    echo(f"The run is prepared: {folder}")
    echo(f"Train it in 2 processes: {train}")
    echo(f"Then evaluate it: {resume} (if it is not trained yet, this trains it first)")
