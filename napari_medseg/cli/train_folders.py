"""`medseg train --images --masks`: a model from folders of images and masks, without a project."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from napari_medseg.cli import batch_preview
from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.options import open_registry
from napari_medseg.cli.run_console import say_paused, watch
from napari_medseg.core.custom_task import have_same_labels
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, read_card
from napari_medseg.core.task_catalog import TaskCatalog
from napari_medseg.core.tasks import TASKS, Task
from napari_medseg.workflow.run_control import read_events_after, read_log_tail, start_detached
from training.recipe import read_recipe
from training.recipe_keys import merge_keys
from training.run_folder import (
    CANCEL_FILE,
    EVALUATION_REPORT_FILE,
    RECIPE_FILE,
    REPORT_FILE,
    Event,
    Failed,
    Finished,
    Paused,
    get_events_offset,
    read_events,
)

if TYPE_CHECKING:
    from training.from_folders.default_recipe import RecipeOverrides
    from training.from_folders.folder_run import FolderData

RUNS_FOLDER = "medseg-runs"


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line; see the help of `medseg train`."""

    images: Path
    masks: Path
    labels: str = ""
    task: str = ""
    name: str = ""
    values: str = ""
    binarise: bool = False
    ignore: int | None = None
    group_by: str = ""
    hold_out: str = ""
    out: Path | None = None
    recipe: Path | None = None
    epochs: int | None = None
    budget_s: float | None = None
    seed: int = 0
    instances: bool = False
    skip_mismatches: bool = False
    check_only: bool = False
    prepare: bool = False
    show_batch: Path | None = None


def train_own(wishes: Wishes, registry: Path | None, *, as_json: bool) -> None:
    """Check everything, say what does not fit, train, and say where the model is and how to use it.

    Raises
    ------
    MedSegError
        If anything does not fit and is not to be left out, the run fails, or more than one thing but training is
        asked for.
    """
    from training.from_folders.base_model import make_run
    from training.from_folders.folder_run import check_folder_data, fill_run, prepare_model_recipe

    if wishes.check_only + wishes.prepare + (wishes.show_batch is not None) > 1:
        raise MedSegError("--check, --prepare and --show-batch each end before training. Give one of them.")
    models = open_registry(registry)
    console = make_progress_console(quiet=as_json)
    data = _data(wishes, models.read_task_catalog())
    matched = check_folder_data(data)
    _say_mismatches(matched, wishes, console)
    if wishes.check_only:
        echo(f"{len(matched.cases)} pairs fit; nothing was trained.")
        return
    run_dir = wishes.out or Path(RUNS_FOLDER) / f"{data.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    donors = [(card, models.get_folder(card.id)) for card in models.list_versions()]
    changes = changes_of(wishes.recipe, wishes.epochs, wishes.budget_s, wishes.seed)
    if wishes.show_batch is not None:
        with tempfile.TemporaryDirectory() as folder:
            picture_of = Path(folder) / "run"
            base = prepare_model_recipe(data, matched.cases, donors, picture_of, changes)
            random = base.model_copy(update={"encoder_weights": "none"})  # a picture needs no weights
            make_run(random, picture_of, picture_of, picture_of)
            batch_preview.show_batch(wishes.show_batch, picture_of, None)
        return
    base = fill_run(data, matched.cases, donors, run_dir, changes, models)
    start = base.card.lineage.began_with
    console.print(f"{len(matched.cases)} images, {base.recipe.schedule.n_epochs} epochs, begins with {start}")
    if wishes.prepare:
        _say_prepared(run_dir.absolute(), as_json=as_json)
        return
    _train(run_dir, wishes.budget_s, console, as_json=as_json)


def continue_own(run_dir: Path, *, as_json: bool) -> None:
    """Let a run on folders begin, or go on where it was paused or interrupted, to the same result.

    One that other processes finished, as those of `torchrun`, is judged, which the training itself does not do.

    Raises
    ------
    MedSegError
        If the folder holds no run, it is finished and judged, or it fails.
    """
    if not (run_dir / RECIPE_FILE).is_file():
        raise MedSegError(f"{run_dir} is no run folder ({RECIPE_FILE} is missing). Name the one that was paused.")
    events = [event for event, _ in read_events(run_dir)]
    if any(isinstance(event, Finished) for event in events):
        _judge_finished(run_dir, as_json=as_json)
        return
    budget_s = read_recipe(run_dir / RECIPE_FILE).run.budget_s
    _train(run_dir, budget_s, make_progress_console(quiet=as_json), as_json=as_json)


def changes_of(recipe: Path | None, epochs: int | None, budget_s: float | None, seed: int) -> "RecipeOverrides":
    """Return what a file changes, and the command's own options on top of it; raises `MedSegError` as reading does."""
    from training.from_folders.default_recipe import RecipeOverrides, read_recipe_overrides

    changes = RecipeOverrides() if recipe is None else read_recipe_overrides(recipe)
    run: dict[str, Any] = {"seed": seed} if seed else {}
    if budget_s is not None:
        run["budget_s"] = budget_s
    schedule = {} if epochs is None else {"n_epochs": epochs, "patience": epochs}
    asked = {group: settings for group, settings in (("run", run), ("schedule", schedule)) if settings}
    return changes.model_copy(update={"recipe": merge_keys(changes.recipe, asked)})


def _data(wishes: Wishes, book: TaskCatalog) -> "FolderData":
    from training.from_folders.folder_run import FolderData, make_folder_task
    from training.from_folders.mask_files import read_categories
    from training.from_folders.mask_values import MaskEncoding

    name = wishes.name or _default_name(wishes.task, book)
    labels = _words(wishes.labels) or ([] if wishes.task else list(read_categories(wishes.masks)))
    if labels and wishes.task:
        raise MedSegError("give either --labels, for a new task, or --task, for one that there is.")
    if labels:
        task = _known_or_new(make_folder_task(name, labels, wishes.images, instances=wishes.instances), book)
    elif wishes.task:
        task = book.get_task(wishes.task)
    else:
        raise MedSegError("say what the values of the masks mean: --labels right_lung,left_lung, or --task lungs.")
    values = tuple(tuple(_whole(part) for part in word.split("+")) for word in _words(wishes.values))
    return FolderData(
        name=name,
        images=wishes.images,
        masks=wishes.masks,
        encoding=MaskEncoding(task, values, wishes.binarise, wishes.ignore),
        group_by=wishes.group_by,
        hold_out=tuple(_words(wishes.hold_out)),
    )


def _default_name(task: str, book: TaskCatalog) -> str:
    """Return the family of a person's own task; beside one of the program's own models a name that tells them apart."""
    if not task:
        return "my-model"
    return f"{task}-own" if task in TASKS else book.get_task(task).default_model


def _known_or_new(task: Task, book: TaskCatalog) -> Task:
    """Return the task of that name that there is already, so that a second training is for the same task."""
    if task.name not in book:
        return task
    known = book.get_task(task.name)
    if not have_same_labels(known, task):
        raise MedSegError(
            f"there is a task {task.name!r} with other labels ({', '.join(label.name for label in known.labels)}). "
            f"Choose another --name, or add labels behind them: medseg tasks extend {task.name}"
        )
    return known


def _say_mismatches(matched: Any, wishes: Wishes, console: Console) -> None:  # noqa: ANN401 -- a type behind torch
    from training.from_folders.mask_pairing import format_mismatches

    lines = format_mismatches(matched.mismatches)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    n_blocking = len(matched.blocking_mismatches)
    if n_blocking and not (wishes.skip_mismatches or wishes.check_only):
        raise MedSegError(
            f"{n_blocking} of the files do not fit, as listed{'' if not console.quiet else ': ' + '; '.join(lines)}. "
            "Correct them, or add --skip-mismatches to leave them out. Nothing was trained."
        )


def _train(run_dir: Path, budget_s: float | None, console: Console, *, as_json: bool) -> None:
    """Train in a process of its own, so that Ctrl-C can stop it and keep the best so far; then say the result."""
    from training.from_folders.folder_run import evaluate_folder_run

    command = [sys.executable, "-P", "-m", "training", str(run_dir.absolute())]
    begin = get_events_offset(run_dir)
    process = start_detached(command, run_dir)

    def poll(offset: int) -> tuple[list[Event], int]:
        alive = process.poll() is None  # asked before reading, so that its last word is read
        events, offset = read_events_after(run_dir, max(offset, begin), alive=alive)
        if not alive and not events:
            events = [Failed(f"the training process ended without a result: {read_log_tail(run_dir)}. Train again.")]
        return events, offset

    last = watch(poll, lambda: (run_dir / CANCEL_FILE).touch(), console, budget_s)
    process.wait()
    if isinstance(last, Paused):
        say_paused(last, f"medseg train {run_dir.absolute()}", run_dir, as_json=as_json)
    _say_result(evaluate_folder_run(run_dir), run_dir, as_json=as_json)


def _judge_finished(run_dir: Path, *, as_json: bool) -> None:
    from training.from_folders.folder_run import LABELS_BY, evaluate_folder_run

    card = read_card(run_dir / CARD_FILE)
    if any(score.labels_by == LABELS_BY for score in card.hold_out):  # training names others, and judging comes last
        raise MedSegError(f"the run in {run_dir} is finished and judged. Train again to make another.")
    _say_result(evaluate_folder_run(run_dir), run_dir, as_json=as_json)


def _say_prepared(folder: Path, *, as_json: bool) -> None:
    """Say how a run folder is trained by several processes, and judged behind that."""
    commands = {
        "train": f"PYTHONSAFEPATH=1 torchrun --nproc-per-node 2 -m training {folder}",
        "judge": f"medseg train {folder} --continue",
    }
    if as_json:
        echo_json({"folder": str(folder), **commands})
        return
    echo(f"The run is prepared: {folder}")
    echo(f"Train it with, say, 2 processes: {commands['train']}")
    echo(f"Then judge it, or train it alone: {commands['judge']}")


def _say_result(card: ModelCard, run_dir: Path, *, as_json: bool) -> None:
    folder = run_dir.absolute()
    add = f"medseg models add {folder} --promote"
    if card.task in TASKS:
        add += ' --reason "trained on my own images"'
    pages = [folder / page for page in (REPORT_FILE, EVALUATION_REPORT_FILE) if (folder / page).exists()]
    if as_json:
        scores = [score.model_dump() for score in card.hold_out]
        files = {"folder": str(folder), "reports": [str(page) for page in pages]}
        echo_json({"model": card.id, "task": card.task, "hold_out": scores, "use": add, **files})
        return
    for score in card.hold_out:
        echo(f"{score.metric} on {score.dataset}: {score.mean:.4f}, worst {score.worst:.4f}, {score.n_images} images")
        for label, value in score.per_label.items():
            echo(f"  {label}: {value:.4f}")
    if not card.hold_out:
        echo("Nothing was held out, so nothing tells how good it is. Give images of more patients.")
    echo(f"version: {folder / WEIGHTS_FILE}")
    echo(f"card:    {folder / CARD_FILE}")
    echo(f"report:  {', '.join(map(str, pages))}")
    echo(f"To use it in the window: {add}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _whole(word: str) -> int:
    if not word.strip().isdecimal():
        raise MedSegError(f"--values takes whole numbers, as in 31+32,40, not {word!r}.")
    return int(word)
