"""`medseg slides predict`: predict whole slides chunk by chunk; stopped at any time, it goes on where it was."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from napari_medseg.cli.slides.options import SLIDE_TASK, SlidesArgument
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.file_names import make_printable
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.workflow.cluster.case_request import make_model_request
from napari_medseg.workflow.cluster.connection import Cluster, ClusterChoice
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
    slides: SlidesArgument,
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
    """Predict whole slides into OME-Zarr labels, only where tissue is.

    It may be stopped at any time: the same command goes on where it was. Several slides get a folder each, named as
    they are, in that of --output. The exit code is 1 if a slide cannot be predicted or parts are damaged.
    """
    choice = choose_cluster(workers, scheduler, memory, tls_ca, tls_cert, tls_key)
    models = open_registry(registry)
    call = _Call(
        models, choose_model_card(models, task, model), device, runtime, choice, um_per_pixel, everywhere, as_json
    )
    described: list[dict[str, Any]] = []
    n_failed = 0
    with call.stack:
        for slide, folder in _choose_folders(slides, output):
            try:
                with translate_errors() if len(slides) > 1 else contextlib.nullcontext():
                    one = _plan_slide(call, slide) if plan_only else _predict_slide(call, slide, folder)
            except MedSegError as error:
                if len(slides) == 1:
                    raise
                typer.echo(f"medseg: {slide}: {error}", err=True)
                one = {"slide": str(slide), "error": str(error)}
            described.append(one if len(slides) == 1 else {"slide": str(slide)} | one)
            n_failed += bool(one.get("error") or one.get("failed"))
    if as_json:
        echo_json(described[0] if len(slides) == 1 else {"slides": described})
    if n_failed:
        raise typer.Exit(1)


@dataclass(eq=False)
class _Call:
    """What is the same for all slides of a call; network and workers start with the first slide that needs them."""

    models: ModelRegistry
    card: ModelCard
    device: str | None
    runtime: str | None
    choice: ClusterChoice | None
    um_per_pixel: float | None
    everywhere: bool
    as_json: bool
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def predictor(self) -> "Predictor":
        """The network of this process."""
        return load_predictor(self.models, self.card.id, self.device, self.runtime, is_constant=True)

    @cached_property
    def cluster(self) -> Cluster | None:
        """The workers; `None` if this process predicts."""
        return self.stack.enter_context(open_chosen_cluster(self.choice))


def _choose_folders(slides: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Return each slide with the folder of its prediction; raise `MedSegError` if two would have the same."""
    if len(slides) == 1:
        return [(slides[0], output)]
    names = Counter(make_printable(slide.stem).lower() for slide in slides)  # some disks know no upper case
    if same := [name for name, count in names.items() if count > 1]:
        raise MedSegError(f"several slides are named {same[0]}, and each needs a folder. Give them in two commands.")
    return [(slide, output / make_printable(slide.stem)) for slide in slides]


def _make_plan(call: _Call, opened: Slide) -> SlidePlan:
    tissue = None if call.everywhere else find_tissue(opened).mask
    plan = make_plan(opened, call.card, tissue, call.um_per_pixel)
    for remark in plan.remarks:
        echo_notice(remark)
    return plan


def _plan_slide(call: _Call, slide: Path) -> dict[str, Any]:
    """Say what a slide would take."""
    with contextlib.closing(open_slide(slide)) as opened:
        plan = _make_plan(call, opened)
    if not call.as_json:
        echo(plan.text)
    return {"chunks": plan.n_chunks, "bytes": plan.n_bytes, "mm2": plan.area_mm2}


def _predict_slide(call: _Call, slide: Path, folder: Path) -> dict[str, Any]:
    """Begin or continue the prediction of a slide; return what is printed of it."""
    with contextlib.closing(open_slide(slide)) as opened:
        if find_manifest(folder) is None:
            plan = _make_plan(call, opened)
            echo_notice(plan.text)
            begin_prediction(folder, plan).close()
        else:
            refuse_other_choice(folder, opened, call.um_per_pixel, everywhere=call.everywhere)
        with continue_prediction(folder, opened, (call.card.id, call.card.weights_sha256)) as whole:
            if not whole.is_complete:
                _predict_chunks(call, whole, opened, slide)
            return _describe(whole, as_json=call.as_json)


def _predict_chunks(call: _Call, whole: WholeSlide, opened: Slide, slide: Path) -> None:
    """Predict the chunks that are left, here or on the workers."""
    if call.cluster is None:
        _predict(whole, opened, call.card, call.predictor, quiet=call.as_json)
        return
    from napari_medseg.cli.cluster.slide import predict_slide_on_cluster

    requested = make_model_request(
        call.models, call.card, call.device, choose_wish(call.models, call.runtime), is_constant=True
    )
    predict_slide_on_cluster(call.cluster, whole, slide, requested, quiet=call.as_json)


def _predict(whole: WholeSlide, slide: Slide, card: ModelCard, predictor: "Predictor", *, quiet: bool) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=make_progress_console(quiet=quiet)) as progress, translate_errors():
        title = f"{card.id} on {predictor.device_title}"
        bar = progress.add_task(title, total=whole.table.n_chunks, left="")
        for event in predict_chunks(whole, slide, predictor.predict):
            _show(progress, bar, event)


def _show(progress: Progress, bar: TaskID, event: SlideProgress) -> None:
    left = "" if event.seconds_left is None else f"{format_seconds(event.seconds_left)} left"
    found = f"{event.n_objects:,} object{'s' * (event.n_objects != 1)}" if event.n_objects else ""
    progress.update(bar, completed=event.done, left=", ".join(filter(None, (found, left))))
    if event.notice:
        progress.console.print(f"medseg: note: {event.notice}", markup=False, highlight=False)


def _describe(whole: WholeSlide, *, as_json: bool) -> dict[str, Any]:
    """Return sizes and failed parts of a prediction, and print them unless all is printed as JSON."""
    density = compute_density(whole)
    failed = [{"chunk": number, "reason": reason} for number, reason in whole.table.list_reasons()]
    if not as_json:
        echo(f"{whole.labels.path}: {density.text}")
        for one in failed:
            typer.echo(f"medseg: {one['reason']}", err=True)
    return {
        "model": whole.manifest.model,
        "labels": str(whole.labels.path),
        "chunks": whole.table.n_chunks,
        "objects": whole.table.n_objects,
        f"predicted_{density.unit}": float(density.predicted.sum()),
        "areas": dict(zip(density.classes, density.areas.sum(axis=(1, 2)).tolist(), strict=True)),
        "failed": failed,
    }
