"""`medseg predict` and `medseg evaluate`: files in, labels or figures out; no project is touched."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from napari_medseg.cli import options as places
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.task_detection import check_image_fits_task
from napari_medseg.core.tasks import Task

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor
    from training.evaluation.scores import Evaluation


def predict(
    files: Annotated[list[Path], typer.Argument(help="Images, or folders of them (a DICOM series is one image).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the labels; made where it is missing.")],
    task: places.TaskOption = "lungs",
    model: places.ModelOption = None,
    suffix: Annotated[str, typer.Option(help=f"Format: {', '.join(formats.WRITERS)}.")] = ".tif",
    device: places.DeviceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace labels of the same name.")] = False,
    as_json: places.JsonOption = False,
    registry: places.RegistryOption = None,
) -> None:
    """Write the labels that a model proposes for images.

    Exit code 1 where at least one file could not be used; the others are written all the same.
    """
    if suffix not in formats.WRITERS:
        raise MedSegError(f"labels cannot be written as {suffix!r}; choose one of {sorted(formats.WRITERS)}")
    sources, errors = _sources(files)
    models = places.open_registry(registry)
    wanted = models.read_task_catalog().get_task(task)
    card = places.chosen_model(models, task, model)
    predictor = places.load_predictor(models, card.id, device)
    targets = _targets(sources, output, suffix)
    written = []
    console = places.progress_console(quiet=as_json)
    for source, target in track(targets, description=f"{card.id} on {predictor.device_title}", console=console):
        try:
            if target.exists() and not overwrite:
                raise MedSegError(f"{target} exists already. Choose another folder with -o, or add --overwrite.")
            written.append(_predict_one(source, target, predictor, wanted))
        except MedSegError as error:
            errors.append(str(error))
    if as_json:
        places.say_json({"model": card.id, "device": predictor.device_title, "files": written, "errors": errors})
    else:
        _say_written(written, errors)
    if errors:
        raise typer.Exit(1)


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: Annotated[Path, typer.Option(help="Folder of reference labels; equal stems belong together.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for CSV, JSON and HTML.", show_default=False)
    ] = None,
    task: places.TaskOption = "lungs",
    model: places.ModelOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Folder of labels made elsewhere, measured instead of a model's.", show_default=False),
    ] = None,
    only: Annotated[str, typer.Option(help="Regular expression that stems must begin with.")] = "",
    group: Annotated[str, typer.Option(help="Regular expression whose match in the stem is the patient.")] = "",
    device: places.DeviceOption = None,
    as_json: places.JsonOption = False,
    registry: places.RegistryOption = None,
) -> None:
    """Measure a model, or labels made elsewhere, against reference labels.

    Dice, IoU, accuracy, precision, recall, surface distances and swapped sides; of instances AJI, PQ and F1 too.
    """
    from training.evaluation.case_figure import draw_case_figure
    from training.evaluation.evaluate import evaluate_cases, find_cases, make_folder_source, make_predictor_source
    from training.evaluation.evaluation_report import choose_cases_to_show, write_evaluation
    from training.evaluation.scores import Evaluation

    models = places.open_registry(registry)
    chosen = models.read_task_catalog().get_task(task)
    if predictions is not None:
        name, source, n_classes = predictions.name, make_folder_source(predictions), None
    else:
        card = places.chosen_model(models, task, model)
        name, n_classes = card.id, card.architecture.classes
        source = make_predictor_source(places.load_predictor(models, card.id, device))
    cases = find_cases(images, labels, only, group)
    console = places.progress_console(quiet=as_json)
    judged = track(evaluate_cases(source, cases, chosen, n_classes), name, total=len(cases), console=console)
    evaluation = Evaluation(name, task, tuple(one.score for one in judged))
    paths = []
    if output is not None:  # made once more: thousands of images would not fit into memory
        shown = [case for case in cases if case.name in choose_cases_to_show(evaluation.scores)]
        pictures = [draw_case_figure(one, chosen) for one in evaluate_cases(source, shown, chosen, n_classes)]
        paths = write_evaluation(evaluation, output, pictures)
    if as_json:
        rows = [asdict(score) | {"mean_dice": score.mean_dice} for score in evaluation.scores]
        summary = [score.model_dump() for score in evaluation.summarise()]
        places.say_json({"model": name, "task": task, "summary": summary, "images": rows})
        return
    _say_evaluation(evaluation)
    for path in paths:
        places.say(str(path))


def _sources(files: Sequence[Path]) -> tuple[list[formats.ImageSource], list[str]]:
    sources: list[formats.ImageSource] = []
    errors: list[str] = []
    for file in files:
        try:
            found = formats.find_images(file)
            if not found:
                raise MedSegError(f"{file} holds no image that can be read. Choose another file or folder.")
            sources += found
        except MedSegError as error:
            errors.append(str(error))
    return sources, errors


def _targets(
    sources: Sequence[formats.ImageSource], folder: Path, suffix: str
) -> list[tuple[formats.ImageSource, Path]]:
    """Name the label file of each image after it; a number tells apart images of the same name."""
    times: Counter[str] = Counter()
    targets = []
    for source in sources:
        ending = next((end for end in (".nii.gz", *formats.READERS) if source.name.lower().endswith(end)), "")
        stem = source.name.removesuffix(source.name[len(source.name) - len(ending) :]) or "image"
        times[stem] += 1
        number = f"_{times[stem]}" if times[stem] > 1 else ""
        targets.append((source, folder / f"{stem}{number}_labels{suffix}"))
    return targets


def _predict_one(source: formats.ImageSource, target: Path, predictor: "Predictor", task: Task) -> dict[str, Any]:
    from napari_medseg.inference.events import PredictionResult

    image = formats.read_source(source)
    check_image_fits_task(image, task)
    result = next(event for event in predictor.predict(image) if isinstance(event, PredictionResult))
    formats.write_labels(target, result.labels, image)
    sizes = measure_labels(result.labels, image, task, result.roi)
    return {
        "image": [str(file) for file in source.paths],
        "labels": str(target),
        "seconds": round(result.seconds, 3),
        "uncertainty": round(result.uncertainty, 5),
        "sizes": {size.label.name: _figures(size) for size in sizes},
        "text": ", ".join(f"{size.label.name} {size.text}" for size in sizes),
        "findings": [finding.text for finding in check_labels(result.labels, task, image)],
    }


def _figures(size: Measurement) -> dict[str, Any]:
    figures = {"voxels": size.voxels, "value": size.value, "unit": size.unit}
    if size.count is not None:
        figures["objects"] = size.count
    return figures | {f"share of {name}": round(share, 5) for name, share in size.shares}


def _say_written(written: Sequence[dict[str, Any]], errors: Sequence[str]) -> None:
    for entry in written:
        places.say(f"{entry['labels']}  {entry['text']}")
        for finding in entry["findings"]:
            places.say(f"  look at it: {finding}")
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)


def _say_evaluation(evaluation: "Evaluation") -> None:
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
        places.say(f"{name}: {value:.4f}")
