"""`medseg slides predict`: predict a whole slide chunk by chunk; stopped at any time, it goes on where it was."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

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
    DeviceOption,
    JsonOption,
    ModelOption,
    RegistryOption,
    RuntimeOption,
    TaskOption,
    check_output_folder,
    choose_model_card,
    choose_wish,
    load_predictor,
    open_registry,
)
from napari_medseg.cli.slides.options import SLIDE_TASK, SlideArgument
from napari_medseg.core.errors import translate_errors
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.workflow.cluster.case_request import make_model_request
from napari_medseg.workflow.whole_slide.density import compute_density
from napari_medseg.workflow.whole_slide.plan import SlidePlan, make_plan, refuse_other_choice
from napari_medseg.workflow.whole_slide.prediction import (
    SlideProgress,
    WholeSlide,
    begin_prediction,
    continue_prediction,
    find_manifest,
    predict_chunks,
)
from napari_medseg.workflow.whole_slide.texts import format_seconds

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor


OutputOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", callback=check_output_folder, help="Folder of the prediction; one that it holds goes on."
    ),
]
EverywhereOption = Annotated[bool, typer.Option("--everywhere", help="Predict the glass, too, not only tissue.")]
ResolutionOption = Annotated[
    float | None,
    typer.Option(
        "--um-per-pixel", min=0.02, max=20, help="Micrometres per pixel.", show_default="that of the model's images"
    ),
]


def predict(
    slide: SlideArgument,
    output: OutputOption,
    task: TaskOption = SLIDE_TASK,
    model: ModelOption = None,
    device: DeviceOption = None,
    runtime: RuntimeOption = None,
    everywhere: EverywhereOption = False,
    um_per_pixel: ResolutionOption = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only print what would be done.")] = False,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = "",
    memory: WorkerMemoryOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
) -> None:
    """Predict a whole slide into OME-Zarr labels, only where tissue is.

    It may be stopped at any time: the same command goes on where it was. The exit code is 1 if parts are damaged.
    """
    choice = choose_cluster(workers, scheduler, memory, tls_ca, tls_cert, tls_key)
    models = open_registry(registry)
    card = choose_model_card(models, task, model)
    with contextlib.closing(open_slide(slide)) as opened:
        if find_manifest(output) is None or plan_only:
            tissue = None if everywhere else find_tissue(opened).mask
            plan = make_plan(opened, card, tissue, um_per_pixel)
            for remark in plan.remarks:
                echo_notice(remark)
            if plan_only:
                _echo_plan(plan, as_json=as_json)
                return
            echo_notice(plan.text)
            begin_prediction(output, plan).close()
        else:
            refuse_other_choice(output, opened, um_per_pixel, everywhere=everywhere)
        with continue_prediction(output, opened, (card.id, card.weights_sha256)) as whole:
            with open_chosen_cluster(choice) as cluster:
                if cluster is None:
                    _predict(whole, opened, card, load_predictor(models, card.id, device, runtime), quiet=as_json)
                else:
                    from napari_medseg.cli.cluster.slide import predict_slide_on_cluster

                    requested = make_model_request(models, card, device, choose_wish(models, runtime))
                    predict_slide_on_cluster(cluster, whole, slide, requested, quiet=as_json)
            _echo_result(whole, as_json=as_json)
            n_failed = whole.table.count("failed")
    if n_failed:
        raise typer.Exit(1)


def _echo_plan(plan: SlidePlan, *, as_json: bool) -> None:
    if as_json:
        echo_json({"chunks": plan.n_chunks, "bytes": plan.n_bytes, "mm2": plan.area_mm2})
    else:
        echo(plan.text)


def _predict(whole: WholeSlide, slide: Slide, card: ModelCard, predictor: "Predictor", *, quiet: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=make_progress_console(quiet=quiet)) as progress, translate_errors():
        title = f"{card.id} on {predictor.device_title}"
        bar = progress.add_task(title, total=whole.table.n_chunks, left="")
        for event in predict_chunks(whole, slide, predictor.predict):
            _show(progress, bar, event)


def _show(progress: Progress, bar: TaskID, event: SlideProgress) -> None:
    left = "" if event.seconds_left is None else f"{format_seconds(event.seconds_left)} left"
    found = f"{event.n_objects:,} objects" if event.n_objects else ""
    progress.update(bar, completed=event.done, left=", ".join(filter(None, (found, left))))
    if event.notice:
        progress.console.print(f"medseg: note: {event.notice}", markup=False, highlight=False)


def _echo_result(whole: WholeSlide, *, as_json: bool) -> None:
    density = compute_density(whole)
    failed = [{"chunk": number, "reason": reason} for number, reason in whole.table.list_reasons()]
    if as_json:
        area = float(density.predicted.sum())
        echo_json(
            {
                "model": whole.manifest.model,
                "labels": str(whole.labels.path),
                "chunks": whole.table.n_chunks,
                "objects": whole.table.n_objects,
                f"predicted_{density.unit}": area,
                "areas": dict(zip(density.classes, density.areas.sum(axis=(1, 2)).tolist(), strict=True)),
                "failed": failed,
            }
        )
        return
    echo(f"{whole.labels.path}: {density.text}")
    for one in failed:
        typer.echo(f"medseg: {one['reason']}", err=True)
