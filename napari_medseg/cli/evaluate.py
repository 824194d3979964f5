"""`medseg evaluate`: score a model, or label files, against reference labels, without a project."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, echo_notice, make_progress_console
from napari_medseg.cli.mask_options import (
    BinariseOption,
    IgnoreOption,
    MaskOrientationOption,
    SameVoxelsOption,
    ValuesOption,
    parse_values,
)
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    ModelOption,
    RegistryOption,
    TaskOption,
    check_output_folder,
    choose_model_card,
    load_predictor,
    open_registry,
)
from napari_medseg.core.file_names import read_or_make_key
from napari_medseg.core.formats.mask_placement import MaskPlacement
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import Task

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        callback=check_output_folder,
        help="Folder for CSV, JSON and HTML reports.",
        show_default=False,
    ),
]
GroupPatternOption = Annotated[
    str,
    typer.Option(
        "--group-pattern",
        "--group",
        help="Where the patient stands in a file name: '{patient}_*', or a regular expression.",
    ),
]

if TYPE_CHECKING:
    from training.evaluation.evaluate import LabelSource
    from training.evaluation.scores import Evaluation


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: Annotated[Path, typer.Option(help="Folder of reference labels, named like the images.")],
    output: OutputOption = None,
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Folder of label files to score instead of a model.", show_default=False),
    ] = None,
    only: Annotated[str, typer.Option(help="Use only images whose name starts with this regular expression.")] = "",
    group: GroupPatternOption = "",
    values: ValuesOption = "",
    binarise: BinariseOption = False,
    ignore: IgnoreOption = None,
    mask_orientation: MaskOrientationOption = None,
    same_voxels: SameVoxelsOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Score a model, or label files, against reference labels.

    Scores are Dice, IoU, accuracy, precision, recall, surface distances and swapped sides; for instances also AJI, PQ
    and F1. --values, --binarise and --ignore tell what the values of the references mean.
    """
    from training.evaluation.evaluate import evaluate_cases, find_cases
    from training.evaluation.scores import Evaluation, hide_groups
    from training.from_folders.mask_reading import make_label_reader
    from training.from_folders.mask_values import MaskEncoding
    from training.reports.case_figure import FigureSelection
    from training.reports.evaluation_report import N_SHOWN_EACH, write_evaluation

    models = open_registry(registry)
    chosen = models.read_task_catalog().get_task(task)
    placement = MaskPlacement(mask_orientation, same_voxels)
    encoding = MaskEncoding(chosen, parse_values(values), binarise, ignore, placement)
    name, source, n_classes = _choose_source(models, chosen, predictions, placement, model, device)
    cases = find_cases(images, labels, only, group, encoding.ignored_value)
    console = make_progress_console(quiet=as_json)
    results = evaluate_cases(source, cases, chosen, n_classes, make_label_reader(encoding))
    scores, figures = [], FigureSelection(len(cases), N_SHOWN_EACH, N_SHOWN_EACH, N_SHOWN_EACH)
    for position, result in enumerate(track(results, name, total=len(cases), console=console)):
        scores.append(result.score)
        if output is not None:
            figures.add(result, chosen, position)
    evaluation = Evaluation(name, task, hide_groups(scores, read_or_make_key(models.user_dir), chosen))
    paths = [] if output is None else write_evaluation(evaluation, output, figures.list_figures())
    if as_json:
        _echo_json(evaluation)
        return
    _echo_table(evaluation)
    for path in paths:
        echo(str(path))


def _choose_source(
    models: ModelRegistry,
    task: Task,
    predictions: Path | None,
    placement: MaskPlacement,
    model: str | None,
    device: str | None,
) -> "tuple[str, LabelSource, int | None]":
    """Return the name of what is scored, the source of its labels, and how many classes it can predict if known."""
    from training.evaluation.evaluate import make_folder_source, make_predictor_source
    from training.from_folders.mask_reading import make_label_reader
    from training.from_folders.mask_values import MaskEncoding

    if predictions is not None:
        read_predicted = make_label_reader(MaskEncoding(task, placement=placement))
        return predictions.name, make_folder_source(predictions, read_predicted), None
    card = choose_model_card(models, task.name, model)
    predictor = load_predictor(models, card.id, device)
    return card.id, make_predictor_source(predictor, echo_notice), card.architecture.classes


def _echo_json(evaluation: "Evaluation") -> None:
    rows = [asdict(score) | {"mean_dice": score.mean_dice} for score in evaluation.scores]
    summary = [score.model_dump() for score in evaluation.summarise()]
    absent = list(evaluation.absent_labels)
    names = {"model": evaluation.model, "task": evaluation.task}
    echo_json(names | {"summary": summary, "does_not_occur": absent, "images": rows})


def _echo_table(evaluation: "Evaluation") -> None:
    from training.reports.evaluation_report import describe_absent_labels

    table = Table(title=f"{evaluation.model} on {evaluation.task}", title_justify="left")
    for column in ("measure", "source", "images", "mean", "95 %", "worst", "sides swapped"):
        table.add_column(column, justify="left" if column in ("measure", "source") else "right")
    for score in evaluation.summarise():
        interval = f"{score.ci_low:.4f}-{score.ci_high:.4f}"
        cells = (
            score.metric,
            score.dataset,
            score.n_images,
            f"{score.mean:.4f}",
            interval,
            f"{score.worst:.4f}",
            score.swapped_sides,
        )
        table.add_row(*map(str, cells))
    Console().print(table)
    for last_dice in [score for score in evaluation.summarise() if score.per_label][-1:]:
        for name, value in last_dice.per_label.items():
            echo(f"{name}: {value:.4f}")
    if absent := describe_absent_labels(evaluation):
        echo(absent)
