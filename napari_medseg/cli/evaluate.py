"""`medseg evaluate`: score a model, or label files, against reference labels, without a project."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    DeviceOption,
    JsonOption,
    ModelOption,
    RegistryOption,
    TaskOption,
    choose_model_card,
    load_predictor,
    open_registry,
)

if TYPE_CHECKING:
    from training.evaluation.scores import Evaluation


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: Annotated[Path, typer.Option(help="Folder of reference labels, named like the images.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for CSV, JSON and HTML reports.", show_default=False)
    ] = None,
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Folder of label files to score instead of a model.", show_default=False),
    ] = None,
    only: Annotated[str, typer.Option(help="Use only images whose name starts with this regular expression.")] = "",
    group: Annotated[
        str,
        typer.Option(
            "--group-pattern",
            "--group",
            help="Where the patient stands in a file name: '{patient}_*', or a regular expression.",
        ),
    ] = "",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Score a model, or label files, against reference labels.

    Scores are Dice, IoU, accuracy, precision, recall, surface distances and swapped sides; for instances also AJI, PQ
    and F1.
    """
    from training.evaluation.case_figure import FigureSelection
    from training.evaluation.evaluate import evaluate_cases, find_cases, make_folder_source, make_predictor_source
    from training.evaluation.evaluation_report import N_SHOWN_EACH, write_evaluation
    from training.evaluation.scores import Evaluation

    models = open_registry(registry)
    chosen = models.read_task_catalog().get_task(task)
    if predictions is not None:
        name, source, n_classes = predictions.name, make_folder_source(predictions), None
    else:
        card = choose_model_card(models, task, model)
        name, n_classes = card.id, card.architecture.classes
        source = make_predictor_source(load_predictor(models, card.id, device))
    cases = find_cases(images, labels, only, group)
    console = make_progress_console(quiet=as_json)
    results = track(evaluate_cases(source, cases, chosen, n_classes), name, total=len(cases), console=console)
    scores, figures = [], FigureSelection(len(cases), N_SHOWN_EACH, N_SHOWN_EACH, N_SHOWN_EACH)
    for position, result in enumerate(results):
        scores.append(result.score)
        if output is not None:
            figures.add(result, chosen, position)
    evaluation = Evaluation(name, task, tuple(scores))
    paths = [] if output is None else write_evaluation(evaluation, output, figures.list_figures())
    if as_json:
        rows = [asdict(score) | {"mean_dice": score.mean_dice} for score in evaluation.scores]
        summary = [score.model_dump() for score in evaluation.summarise()]
        echo_json({"model": name, "task": task, "summary": summary, "images": rows})
        return
    _echo_table(evaluation)
    for path in paths:
        echo(str(path))


def _echo_table(evaluation: "Evaluation") -> None:
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
    last_dice = [score for score in evaluation.summarise() if score.per_label][-1]
    for name, value in last_dice.per_label.items():
        echo(f"{name}: {value:.4f}")
