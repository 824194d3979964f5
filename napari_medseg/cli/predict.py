"""`medseg predict`: segment image files and write label files, without a project."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from napari_medseg.cli.console import echo, echo_json, echo_notice, make_progress_console
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    AxesOption,
    DeviceOption,
    JsonOption,
    LabelFormatOption,
    MaxMemoryOption,
    ModelOption,
    NamesOption,
    RegistryOption,
    SeriesOption,
    SpacingOption,
    StraightenOption,
    TaskOption,
    WithIdentityOption,
    agree_to_identity,
    check_output_folder,
    choose_images,
    choose_model_card,
    load_predictor,
    open_registry,
)
from napari_medseg.core import formats
from napari_medseg.core.containers.choice import LIST, list_sources, summarise
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.formats.gantry_tilt import is_sheared
from napari_medseg.core.formats.gantry_tilt import straighten as straighten_series
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import LabelFormat, find_label_format, find_problem
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.quality.measurements import Measurement, measure_labels
from napari_medseg.core.records import UNLIKE, is_unlike
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import assess_task_fit, check_axes_fit_task, describe_import
from napari_medseg.workflow.output.image_names import ImageNamer, make_namer
from napari_medseg.workflow.output.predictions import PredictionFolder
from napari_medseg.workflow.output.provenance import describe_grid

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor


FilesArgument = Annotated[
    list[Path], typer.Argument(help="Image files, folders or zip archives. A DICOM series is one image.")
]


def predict(
    files: FilesArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", callback=check_output_folder, help="Folder for the labels; created if missing."),
    ],
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    suffix: LabelFormatOption = ".tif",
    device: DeviceOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the labels of the same images; never those of another image.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Segment images that the task is not for, by modality, body part or view.")
    ] = False,
    names: NamesOption = "stem",
    straighten: StraightenOption = False,
    series: SeriesOption = None,
    axes: AxesOption = None,
    spacing: SpacingOption = None,
    with_identity: WithIdentityOption = False,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Segment images and write the labels, and predictions.jsonl, which says whose they are.

    The exit code is 1 if a file could not be used; the labels of the others are written.
    """
    label_format = find_label_format(suffix)
    found, skipped, errors = _find_sources(files)
    if series is not None and series.strip().lower() == LIST:
        _echo_list(found, skipped, errors, as_json=as_json)
        return
    agree_to_identity(label_format, with_identity)
    sources, unclear = choose_images(found, series, axes, spacing)
    errors += unclear
    models = open_registry(registry)
    wanted = models.read_task_catalog().get_task(task)
    card = choose_model_card(models, task, model)
    namer = make_namer(names, models.user_dir)
    predictor = load_predictor(models, card.id, device)
    reserved = [file.name.removesuffix(formats.get_suffix(file)) for source in sources for file in source.paths[:1]]
    out = PredictionFolder(output, label_format.suffix, wanted.name, card.id, overwrite=overwrite, reserved=reserved)
    settings = _Settings(predictor, wanted, namer, out, label_format, straighten, force)
    written, console = [], make_progress_console(quiet=as_json)
    for source in track(sources, description=f"{card.id} on {predictor.device_title}", console=console):
        try:
            with translate_errors():  # the other images are still segmented
                written.append(_predict_one(source, settings))
        except MedSegError as error:
            errors.append(str(error))
    if as_json:
        about = {"model": card.id, "device": predictor.device_title}
        echo_json(about | {"files": written, "skipped": skipped, "errors": errors})
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
            with translate_errors():
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


def _echo_list(
    sources: Sequence[formats.ImageSource], skipped: Sequence[str], errors: Sequence[str], *, as_json: bool
) -> None:
    """Print the images that can be chosen with ``--series``."""
    if as_json:
        listed = [asdict(summarise(source)) | {"image": [str(file) for file in source.paths]} for source in sources]
        echo_json({"series": listed, "skipped": list(skipped), "errors": list(errors)})
    else:
        for line in list_sources(sources):
            echo(line)
        _echo_result([], skipped, errors)
    if errors:
        raise typer.Exit(1)


@dataclass(frozen=True, eq=False)
class _Settings:
    """What is the same for all images of a call."""

    predictor: "Predictor"
    task: Task
    namer: ImageNamer
    out: PredictionFolder
    label_format: LabelFormat
    straighten: bool
    force: bool


def _predict_one(source: formats.ImageSource, settings: _Settings) -> dict[str, Any]:
    from napari_medseg.inference.events import get_result

    predictor, task, out = settings.predictor, settings.task, settings.out
    out.refuse_existing(source.paths)
    image = formats.read_source(source)
    _check_fit(image, task, settings.force)
    if problem := find_problem(settings.label_format, image):
        raise MedSegError(f"{image.name}: {problem}.")
    entry = out.claim(image, source.paths, settings.namer.make_name(image).stem)
    target = out.get_path(entry)
    result = get_result(predictor.predict(image), echo_notice)
    grid, labels = image, result.labels
    moves = settings.straighten and not settings.label_format.names_patient  # labels of a series lie on its slices
    if moves and is_sheared(image.affine) and len(image.spatial_axes) == 3:
        grid, (labels,) = straighten_series(image, [labels])
    remarks = describe_grid(grid, image, target.name)
    out.record(entry, remarks)
    image_file = settings.namer.make_name(image).stem + formats.get_suffix(source.paths[0])  # a name may be hidden
    described = LabelDescription(task, out.model, image_file=image_file)
    settings.label_format.write(target, labels, grid, described)
    sizes = measure_labels(result.labels, image, task, result.roi)
    return {
        "image": [str(file) for file in source.paths],
        "labels": str(target),
        "seconds": round(result.seconds, 3),
        "uncertainty": round(result.uncertainty, 5),
        "domain_distance": None if result.domain_distance is None else round(result.domain_distance, 3),
        "unlike": is_unlike(result.domain_distance),
        "sizes": {size.label.name: _describe_size(size) for size in sizes},
        "text": ", ".join(f"{size.label.name} {size.text}" for size in sizes),
        "notes": list(describe_import(image, task)),
        "findings": [finding.text for finding in check_labels(result.labels, task, image)],
        "remarks": remarks,
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
        if entry["unlike"]:
            echo(f"  ! {UNLIKE} ({entry['domain_distance']:.1f} times as far as most known images): check all of it")
        for note in entry["notes"]:
            echo(f"  note: {note}")
        for finding in entry["findings"]:
            echo(f"  please check: {finding}")
        for remark in entry["remarks"]:
            echo(f"  {remark}")
    for note in skipped:
        echo_notice(note)
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)
