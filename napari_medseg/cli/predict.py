"""`medseg predict`: segment image files and write label files, without a project."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

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
    RuntimeOption,
    SeriesOption,
    SpacingOption,
    StraightenOption,
    TaskOption,
    WithIdentityOption,
    agree_to_identity,
    check_output_folder,
    choose_images,
    choose_model_card,
    choose_wish,
    load_predictor,
    open_registry,
)
from napari_medseg.core import formats
from napari_medseg.core.containers.choice import LIST, list_sources, summarise
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.records import UNLIKE
from napari_medseg.workflow.cluster.case_request import make_model_request
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.image_files.image_list import expand_lists
from napari_medseg.workflow.image_files.overlap import work_in_order
from napari_medseg.workflow.image_files.prediction import (
    FilePrediction,
    PredictedFiles,
    PredictedImage,
    compute_planes,
    describe_prediction,
    predict_image,
    read_fitting_image,
    write_predicted_labels,
)
from napari_medseg.workflow.image_files.search import ImageSearch, search_paths
from napari_medseg.workflow.output.image_names import make_namer
from napari_medseg.workflow.output.predictions import PredictionFolder
from napari_medseg.workflow.output.provenance import describe_grid

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor


FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Image files, folders, zip archives, or CSV lists with a column path. A DICOM series is one image."
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", callback=check_output_folder, help="Folder for the labels; created if missing."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the labels of the same images; never those of another image.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Segment images that the task is not for, by modality, body part or view.")
]


def predict(
    files: FilesArgument,
    output: OutputOption,
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    suffix: LabelFormatOption = ".tif",
    device: DeviceOption = None,
    runtime: RuntimeOption = None,
    overwrite: OverwriteOption = False,
    force: ForceOption = False,
    names: NamesOption = "stem",
    straighten: StraightenOption = False,
    series: SeriesOption = None,
    axes: AxesOption = None,
    spacing: SpacingOption = None,
    with_identity: WithIdentityOption = False,
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
    """Segment images and write the labels, and predictions.jsonl, which says whose they are.

    The exit code is 1 if a file could not be used; the labels of the others are written. With --workers or --scheduler
    the same command goes on where it was stopped; manifest.csv and manifest.parquet say what became of each image.
    """
    label_format = find_label_format(suffix)
    is_listing = series is not None and series.strip().lower() == LIST
    choice = choose_cluster(workers, scheduler, memory, tls_ca, tls_cert, tls_key)
    models = open_registry(registry)
    with open_chosen_cluster(None if is_listing else choice) as cluster:
        found = _search(cluster, files, has_choice=series is not None or axes is not None)
        if is_listing:
            _echo_list(found, as_json=as_json)
            return
        agree_to_identity(label_format, with_identity)
        sources, unclear = choose_images(found.sources, series, axes, spacing)
        found.errors.extend(unclear)
        card, wanted = choose_model_card(models, task, model), models.read_task_catalog().get_task(task)
        settings = FilePrediction(card.id, wanted, make_namer(names, models.user_dir), label_format, straighten, force)
        reserved = [file.name.removesuffix(formats.get_suffix(file)) for source in sources for file in source.paths[:1]]
        out = PredictionFolder(output, label_format.suffix, task, card.id, overwrite=overwrite, reserved=reserved)
        if cluster is None:
            written = _predict_here(
                sources, load_predictor(models, card.id, device, runtime), settings, out, quiet=as_json
            )
        else:
            from napari_medseg.cli.cluster.predict import predict_on_cluster

            requested = make_model_request(models, card, device, choose_wish(models, runtime))
            written = predict_on_cluster(cluster, sources, settings, (output, out), requested, quiet=as_json)
    _echo_result(card.id, written, found, as_json=as_json)


def _search(cluster: Cluster | None, files: Sequence[Path], *, has_choice: bool) -> ImageSearch:
    """Find the images; on the workers if there are any, except where a choice among them needs all their headers."""
    paths = expand_lists(files)
    if cluster is None or has_choice:
        return search_paths(paths)
    from napari_medseg.workflow.cluster.search_task import search_on_cluster

    return search_on_cluster(cluster, paths)


def _predict_here(
    sources: Sequence[formats.ImageSource],
    predictor: "Predictor",
    settings: FilePrediction,
    out: PredictionFolder,
    *,
    quiet: bool,
) -> PredictedFiles:
    written, console = PredictedFiles(predictor.device_title), make_progress_console(quiet=quiet)
    begin = partial(_begin_image, predictor=predictor, settings=settings, out=out)
    done = work_in_order(sources, begin, overlaps=_has_gpu(predictor))
    title = f"{settings.model} on {predictor.device_title}"
    for entry in track(done, description=title, total=len(sources), console=console):
        if isinstance(entry, MedSegError):  # the other images are still segmented
            written.errors.append(str(entry))
        else:
            written.entries.append(entry)
    written.device = predictor.device_title  # another one if a GPU has failed
    return written


def _has_gpu(predictor: "Predictor") -> bool:
    """Whether a GPU of this computer predicts: then post-processing and writing run beside the next image."""
    from napari_medseg.inference.predictor import Predictor

    return isinstance(predictor, Predictor) and predictor.device.type != "cpu"


def _begin_image(
    source: formats.ImageSource, predictor: "Predictor", settings: FilePrediction, out: PredictionFolder
) -> Callable[[], dict[str, Any]]:
    out.refuse_existing(source.paths)
    image = read_fitting_image(source, settings)
    finish: Callable[[], PredictedImage] = partial(predict_image, predictor, image, settings, echo_notice)
    if _has_gpu(predictor):
        finish = compute_planes(predictor, image, settings, echo_notice)
    return partial(_end_image, source, image, finish, settings, out)


def _end_image(
    source: formats.ImageSource,
    image: Image,
    finish: Callable[[], PredictedImage],
    settings: FilePrediction,
    out: PredictionFolder,
) -> dict[str, Any]:
    entry = out.claim(image.content_hash, source.paths, settings.namer.make_name(image).stem)
    predicted = finish()
    target = out.get_path(entry)
    remarks = describe_grid(predicted.grid, image, target.name)
    out.record(entry, remarks, predicted.result.device, predicted.result.runtime)
    write_predicted_labels(predicted, target, source.paths, settings)
    about = {"image": [str(file) for file in source.paths], "labels": str(target)}
    return about | describe_prediction(predicted, settings.task) | {"remarks": remarks}


def _echo_list(found: ImageSearch, *, as_json: bool) -> None:
    """Print the images that can be chosen with ``--series``."""
    if as_json:
        listed = [
            asdict(summarise(source)) | {"image": [str(file) for file in source.paths]} for source in found.sources
        ]
        echo_json({"series": listed, "skipped": found.skipped, "errors": found.errors})
    else:
        for line in list_sources(found.sources):
            echo(line)
        _echo_remarks(found.skipped, found.errors)
    if found.errors:
        raise typer.Exit(1)


def _echo_result(model: str, written: PredictedFiles, found: ImageSearch, *, as_json: bool) -> None:
    errors = [*found.errors, *written.errors]
    if as_json:
        about = {"model": model, "device": written.device}
        echo_json(about | {"files": written.entries, "skipped": found.skipped, "errors": errors})
    else:
        _echo_entries(written.entries)
        _echo_remarks(found.skipped, errors)
    if errors:
        raise typer.Exit(1)


def _echo_entries(written: Sequence[dict[str, Any]]) -> None:
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


def _echo_remarks(skipped: Sequence[str], errors: Sequence[str]) -> None:
    for note in skipped:
        echo_notice(note)
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)
