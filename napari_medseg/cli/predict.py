"""`medseg predict`: segment image files and write label files, without a project."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    DeviceOption,
    JsonOption,
    LabelFormatOption,
    ModelOption,
    RegistryOption,
    TaskOption,
    choose_model_card,
    load_predictor,
    open_registry,
)
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.tasks.definitions import Task
from napari_medseg.core.tasks.detection import assess_task_fit, check_axes_fit_task, describe_import

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor


def predict(
    files: Annotated[list[Path], typer.Argument(help="Image files or folders. A DICOM series is one image.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the labels; created if missing.")],
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    suffix: LabelFormatOption = ".tif",
    device: DeviceOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Segment images that the task is not for, by modality, body part or view.")
    ] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Segment images and write the labels.

    The exit code is 1 if a file could not be used; the labels of the others are written.
    """
    look_up(formats.WRITERS, suffix, problem=f"labels cannot be written as {suffix!r}")
    sources, skipped, errors = _find_sources(files)
    models = open_registry(registry)
    wanted = models.read_task_catalog().get_task(task)
    card = choose_model_card(models, task, model)
    predictor = load_predictor(models, card.id, device)
    targets = _name_label_files(sources, output, suffix)
    written = []
    console = make_progress_console(quiet=as_json)
    for source, target in track(targets, description=f"{card.id} on {predictor.device_title}", console=console):
        try:
            if target.exists() and not overwrite:
                raise MedSegError(f"{target} exists already. Choose another folder with -o, or add --overwrite.")
            written.append(_predict_one(source, target, predictor, wanted, force))
        except MedSegError as error:
            errors.append(str(error))
    if as_json:
        result = {"model": card.id, "device": predictor.device_title, "files": written}
        echo_json(result | {"skipped": skipped, "errors": errors})
    else:
        _echo_result(written, skipped, errors)
    if errors:
        raise typer.Exit(1)


def _find_sources(files: Sequence[Path]) -> tuple[list[formats.ImageSource], list[str], list[str]]:
    """Return the images, remarks about what was skipped in folders, and errors."""
    sources: list[formats.ImageSource] = []
    skipped: list[str] = []
    errors: list[str] = []
    for file in files:
        try:
            found = formats.search_images(file)
            if not found.sources:
                raise MedSegError(
                    f"{file} contains no readable image. {found.note or 'Choose another file or folder.'}"
                )
            sources += found.sources
            skipped += [found.note] if found.note else []
        except MedSegError as error:
            errors.append(str(error))
    return sources, skipped, errors


def _name_label_files(
    sources: Sequence[formats.ImageSource], folder: Path, suffix: str
) -> list[tuple[formats.ImageSource, Path]]:
    """Name the label file of each image after the image; images with the same name get a number."""
    times: Counter[str] = Counter()
    targets = []
    for source in sources:
        ending = next((end for end in (".nii.gz", *formats.READERS) if source.name.lower().endswith(end)), "")
        stem = source.name.removesuffix(source.name[len(source.name) - len(ending) :]) or "image"
        times[stem] += 1
        number = f"_{times[stem]}" if times[stem] > 1 else ""
        targets.append((source, folder / f"{stem}{number}_labels{suffix}"))
    return targets


def _predict_one(
    source: formats.ImageSource, target: Path, predictor: "Predictor", task: Task, force: bool
) -> dict[str, Any]:
    from napari_medseg.inference.events import PredictionResult

    image = formats.read_source(source)
    _check_fit(image, task, force)
    result = next(event for event in predictor.predict(image) if isinstance(event, PredictionResult))
    formats.write_labels(target, result.labels, image)
    sizes = measure_labels(result.labels, image, task, result.roi)
    return {
        "image": [str(file) for file in source.paths],
        "labels": str(target),
        "seconds": round(result.seconds, 3),
        "uncertainty": round(result.uncertainty, 5),
        "sizes": {size.label.name: _describe_size(size) for size in sizes},
        "text": ", ".join(f"{size.label.name} {size.text}" for size in sizes),
        "notes": list(describe_import(image, task)),
        "findings": [finding.text for finding in check_labels(result.labels, task, image)],
    }


def _check_fit(image: Image, task: Task, force: bool) -> None:
    check_axes_fit_task(image, task)
    problem = "" if force else assess_task_fit(image, task).problem
    if problem:
        raise MedSegError(f"{image.name} {problem} Choose another task, or add --force to segment it all the same.")


def _describe_size(size: Measurement) -> dict[str, Any]:
    figures = {"voxels": size.voxels, "value": size.value, "unit": size.unit}
    if size.count is not None:
        figures["objects"] = size.count
    return figures | {f"share of {name}": round(share, 5) for name, share in size.shares}


def _echo_result(written: Sequence[dict[str, Any]], skipped: Sequence[str], errors: Sequence[str]) -> None:
    for entry in written:
        echo(f"{entry['labels']}  {entry['text']}")
        for note in entry["notes"]:
            echo(f"  note: {note}")
        for finding in entry["findings"]:
            echo(f"  please check: {finding}")
    for note in skipped:
        typer.echo(f"medseg: note: {note}", err=True)
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)
