"""`medseg evaluate`: score a model, or label files, against reference labels, without a project."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from napari_medseg.cli.cluster.options import (
    SchedulerOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    WorkerMemoryOption,
    WorkersOption,
    choose_cluster,
    open_chosen_cluster,
)
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
    RuntimeOption,
    TaskOption,
    check_output_folder,
    choose_model_card,
    load_predictor,
    open_registry,
)
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import read_or_make_key
from napari_medseg.core.formats.mask_placement import MaskPlacement
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import ModelRegistry

ReferencesOption = Annotated[
    Path,
    typer.Option(
        "--labels",
        help="Folder of references (PNG, TIFF, NIfTI, Aperio XML) named like the images, or a COCO file.",
    ),
]
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

PredictionsOption = Annotated[
    Path | None,
    typer.Option("--predictions", help="Folder of label files to score instead of a model.", show_default=False),
]
OnlyOption = Annotated[
    str, typer.Option("--only", help="Use only images whose name starts with this regular expression.")
]

if TYPE_CHECKING:
    from training.data.labelled_cases import LabelledCase
    from training.evaluation.evaluate import LabelSource
    from training.evaluation.scores import Evaluation
    from training.from_folders.mask_values import MaskEncoding
    from training.reports.case_figure import CaseFigure


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: ReferencesOption,
    output: OutputOption = None,
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    predictions: PredictionsOption = None,
    only: OnlyOption = "",
    group: GroupPatternOption = "",
    values: ValuesOption = "",
    binarise: BinariseOption = False,
    ignore: IgnoreOption = None,
    mask_orientation: MaskOrientationOption = None,
    same_voxels: SameVoxelsOption = False,
    device: DeviceOption = None,
    runtime: RuntimeOption = None,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = "",
    memory: WorkerMemoryOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Score a model, or label files, against reference labels.

    Scores are Dice, IoU, accuracy, precision, recall, surface distances and swapped sides; for instances also AJI, PQ
    and F1. --values, --binarise and --ignore tell what the values of the references mean.
    """
    from training.evaluation.evaluate import find_cases
    from training.from_folders.mask_values import MaskEncoding
    from training.reports.evaluation_report import write_evaluation

    choice = choose_cluster(workers, scheduler, memory, tls_ca, tls_cert, tls_key)
    if choice is not None and output is None:
        raise MedSegError("several workers need a folder for their scores, from which the command goes on: add -o.")
    models = open_registry(registry)
    chosen = models.read_task_catalog().get_task(task)
    encoding = MaskEncoding(
        chosen, parse_values(values), binarise, ignore, MaskPlacement(mask_orientation, same_voxels)
    )
    card = None if predictions is not None else choose_model_card(models, task, model)
    scored = Scored(models, encoding, card, predictions, device, output, runtime)
    cases = find_cases(images, labels, only, group, encoding.ignored_value)
    with open_chosen_cluster(choice) as cluster:
        if cluster is None:
            evaluation, figures = _evaluate_here(scored, cases, quiet=as_json)
        else:
            from napari_medseg.cli.cluster.evaluate import evaluate_on_cluster

            evaluation, figures = evaluate_on_cluster(cluster, scored, cases, quiet=as_json)
    paths = [] if output is None else write_evaluation(evaluation, output, figures)
    if as_json:
        _echo_json(evaluation)
        return
    _echo_table(evaluation)
    for path in paths:
        echo(str(path))


@dataclass(frozen=True, eq=False)
class Scored:
    """What is scored: the version of `card` on a device, or the label files in the folder `predictions`."""

    models: ModelRegistry
    encoding: "MaskEncoding"
    card: ModelCard | None
    predictions: Path | None
    device: str | None
    output: Path | None
    runtime: str | None = None

    @property
    def name(self) -> str:
        """Name of what is scored."""
        return self.card.id if self.card is not None else self.predictions.name if self.predictions else ""


def _evaluate_here(
    scored: Scored, cases: "Sequence[LabelledCase]", *, quiet: bool
) -> "tuple[Evaluation, list[CaseFigure]]":
    from training.evaluation.evaluate import evaluate_cases
    from training.evaluation.scores import Evaluation, hide_groups
    from training.from_folders.mask_reading import make_label_reader
    from training.reports.case_figure import FigureSelection
    from training.reports.evaluation_report import N_SHOWN_EACH

    task, console = scored.encoding.task, make_progress_console(quiet=quiet)
    n_classes = None if scored.card is None else scored.card.architecture.classes
    results = evaluate_cases(_load_source(scored), cases, task, n_classes, make_label_reader(scored.encoding))
    scores, figures = [], FigureSelection(len(cases), N_SHOWN_EACH, N_SHOWN_EACH, N_SHOWN_EACH)
    for position, result in enumerate(track(results, scored.name, total=len(cases), console=console)):
        scores.append(result.score)
        if scored.output is not None:
            figures.add(result, task, position)
    hidden = hide_groups(scores, read_or_make_key(scored.models.user_dir), task)
    return Evaluation(scored.name, task.name, hidden), figures.list_figures()


def _load_source(scored: Scored) -> "LabelSource":
    """Return the source of the labels that are scored."""
    from training.evaluation.evaluate import make_folder_source, make_predictor_source
    from training.from_folders.mask_reading import make_label_reader
    from training.from_folders.mask_values import MaskEncoding

    if scored.card is None and scored.predictions is not None:
        encoding = MaskEncoding(scored.encoding.task, placement=scored.encoding.placement)
        return make_folder_source(scored.predictions, make_label_reader(encoding))
    assert scored.card is not None
    predictor = load_predictor(scored.models, scored.card.id, scored.device, scored.runtime, is_constant=True)
    return make_predictor_source(predictor, echo_notice)


def _echo_json(evaluation: "Evaluation") -> None:
    rows = [asdict(score) | {"mean_dice": score.mean_dice} for score in evaluation.scores]
    summary = [score.model_dump() for score in evaluation.summarise_for_tables()]
    absent = list(evaluation.absent_labels)
    names = {"model": evaluation.model, "task": evaluation.task}
    echo_json(names | {"summary": summary, "does_not_occur": absent, "images": rows})


def _echo_table(evaluation: "Evaluation") -> None:
    from training.reports.evaluation_report import describe_absent_labels

    table = Table(title=f"{evaluation.model} on {evaluation.task}", title_justify="left")
    for column in ("measure", "source", "images", "mean", "95 %", "worst", "sides swapped"):
        table.add_column(column, justify="left" if column in ("measure", "source") else "right")
    for score in evaluation.summarise_for_tables():
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
    for last_dice in [score for score in evaluation.summarise_for_tables() if score.per_label][-1:]:
        for name, value in last_dice.per_label.items():
            echo(f"{name}: {value:.4f}")
    if absent := describe_absent_labels(evaluation):
        echo(absent)
