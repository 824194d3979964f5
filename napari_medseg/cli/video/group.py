"""`medseg video`: look into a video, take frames of it, predict a range, and write accepted frames."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from napari_medseg.cli.console import echo, echo_json, echo_notice, make_progress_console
from napari_medseg.cli.options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    RegistryOption,
    RuntimeOption,
    TaskOption,
    check_output_folder,
    choose_model_card,
    load_predictor,
    open_registry,
    open_workspace,
)
from napari_medseg.cli.output.accepted_rows import WithBlindOption, list_rows_to_write
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.video.frame_images import format_time
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow.video.chosen_frames import FrameChoice, choose_by_appearance, choose_every
from napari_medseg.workflow.video.frame_folder import FrameFolder
from napari_medseg.workflow.video.predict_range import make_plane
from napari_medseg.workflow.video.write_overlay import LabelFiles, choose_overlay_path, write_overlay

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor

INSTRUMENTS = "instruments"
HALF_MS = 0.0005
app = typer.Typer(no_args_is_help=True, help="Frames, labels and accepted frames of videos.")
VideoArgument = Annotated[Path, typer.Argument(metavar="VIDEO", help="MP4, MOV, AVI, MKV, WebM or MPEG-TS.")]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", callback=check_output_folder, help="Folder; created if missing.")
]
BeginOption = Annotated[float, typer.Option("--from", help="Begin, in seconds.")]
EndOption = Annotated[float | None, typer.Option("--to", help="End, in seconds.", show_default="the end")]


@app.command()
def info(video: VideoArgument, as_json: JsonOption = False) -> None:
    """Show size, length, rate and key frames of a video, and what of it is missing."""
    with VideoReader(video) as reader:
        index = reader.index
        _, height, width, _ = reader.shape
        about = {
            "frames": index.n_frames,
            "duration_s": round(index.duration_s, 3),
            "width": width,
            "height": height,
            "fps": round(index.rate, 3),
            "constant_rate": index.is_rate_constant,
            "codec": reader.codec,
            "key_frames": len(index.keys),
            "longest_group": index.longest_group,
            "remarks": list(index.remarks),
        }
    if as_json:
        echo_json({"video": str(video)} | about)
        return
    even = "" if index.is_rate_constant else " on average (the rate varies)"
    echo(f"{video.name}: {width} x {height}, {reader.codec}, {format_time(index.duration_s)}")
    echo(f"{index.n_frames:,} frames, {index.rate:.3g} a second{even}")
    echo(f"{len(index.keys):,} key frames; at most {index.longest_group:,} frames are decoded for one")
    for remark in index.remarks:
        echo_notice(remark)


@app.command()
def frames(
    video: VideoArgument,
    output: OutputOption,
    every: Annotated[int | None, typer.Option("--every", help="Each n-th frame.")] = None,
    changes: Annotated[int | None, typer.Option("--changes", help="So many frames that look most different.")] = None,
    at: Annotated[list[float] | None, typer.Option("--at", help="The frame at a time in seconds; repeatable.")] = None,
    begin: BeginOption = 0.0,
    end: EndOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write frames of a video as PNG: each n-th, those that look most different, or those at given times."""
    if sum(option is not None for option in (every, changes, at)) != 1:
        raise MedSegError("say which frames: one of --every, --changes and --at.")
    written, errors, n_kept = [], [], 0
    with VideoReader(video) as reader:
        _tell_remarks(reader.index)
        chosen = _choose(reader, every, changes, at or (), _find_range(reader.index, begin, end))
        folder = FrameFolder(output, video, reader.index)
        for number in track(chosen, description=video.name, console=make_progress_console(quiet=as_json)):
            path = folder.get_path(number, ".png")
            try:
                if folder.is_made(path):
                    n_kept += 1
                else:
                    picture = make_plane(reader, number)
                    folder.begin(path, number)
                    formats.write_image(path, picture)
                    folder.record(path)
            except MedSegError as error:
                errors.append(str(error))
                continue
            written.append({"frame": number, "seconds": round(reader.index.get_time(number), 3), "image": str(path)})
    if as_json:
        echo_json({"frames": written, "kept": n_kept, "errors": errors})
    else:
        echo(f"{output}: {_count_frames(len(written))}{_describe_kept(n_kept)}")
    _tell_errors(errors)


@app.command()
def predict(
    video: VideoArgument,
    output: OutputOption,
    every: Annotated[int, typer.Option("--every", help="Labels for each n-th frame.")] = 25,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write a video with the labels drawn over all frames of the range.")
    ] = False,
    begin: BeginOption = 0.0,
    end: EndOption = None,
    task: TaskOption = INSTRUMENTS,
    model: ModelOption = None,
    device: DeviceOption = None,
    runtime: RuntimeOption = None,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Segment frames of a video and write their labels.

    Frames of the same video whose labels by the same version are in the folder are not done again.
    """
    models = open_registry(registry)
    wanted = models.read_task_catalog().get_task(task)
    card = choose_model_card(models, task, model)
    predictor = load_predictor(models, card.id, device, runtime, is_constant=True)
    quiet = make_progress_console(quiet=as_json)
    with VideoReader(video) as reader:
        _tell_remarks(reader.index)
        chosen = choose_every(reader.index, *_find_range(reader.index, begin, end), every)
        folder = FrameFolder(output, video, reader.index, f"{wanted.name} {card.id} {card.weights_sha256}")
        files: dict[int, Path] = {}
        errors, n_kept = [], 0
        for number in track(chosen, description=f"{video.name} on {predictor.device_title}", console=quiet):
            path = folder.get_path(number, ".tif" if wanted.instances else ".png")
            try:
                if folder.is_made(path):
                    n_kept += 1
                else:
                    _predict_frame(reader, number, predictor, folder, path)
                files[number] = path
            except MedSegError as error:
                errors.append(str(error))
        drawn = _write_overlay(reader, files, wanted, output, chosen) if overlay and files else None
    if as_json:
        echo_json(
            {
                "labels": {str(number): str(path) for number, path in files.items()},
                "kept": n_kept,
                "overlay": None if drawn is None else str(drawn),
                "errors": errors,
            }
        )
    else:
        echo(f"{output}: labels of {_count_frames(len(files))}{_describe_kept(n_kept)}")
        if drawn is not None:
            echo(str(drawn))
    _tell_errors(errors)


@app.command()
def export(
    output: OutputOption,
    video: Annotated[
        Path | None, typer.Option("--video", help="Only frames of this video.", show_default="all videos")
    ] = None,
    task: TaskOption = INSTRUMENTS,
    with_blind: WithBlindOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Write the accepted frames of a project with masks, and COCO with the ids of their videos."""
    from napari_medseg.workflow.output.export import read_export_item
    from napari_medseg.workflow.video.write_frames import choose_video_rows, write_frames

    with open_workspace(project, registry) as ws:
        rows = choose_video_rows(list_rows_to_write(ws, task, with_blind=with_blind), video, ws.project.folder)
        written = write_frames(rows, partial(read_export_item, ws), output, project=ws.project.folder)
    if as_json:
        echo_json({"files": [str(path) for path in written.files], "refused": list(written.refused)})
    else:
        echo(f"{output}: {_count_frames(written.n_frames)} with masks, and annotations.json")
    _tell_errors(written.refused)


def _count_frames(number: int) -> str:
    return f"{number:,} frame{'s' * (number != 1)}"


def _find_range(index: FrameIndex, begin: float, end: float | None) -> tuple[int, int]:
    """Return the first and the last frame of a time; raise `MedSegError` if it has none."""
    if end is not None and end < begin:
        raise MedSegError(f"--from {begin:g} lies behind --to {end:g}. Exchange them.")
    last = index.n_frames - 1 if end is None else _find_frame(index, end)
    return _find_frame(index, begin), last


def _find_frame(index: FrameIndex, seconds: float) -> int:
    """Return the frame at a time; a time that was rounded to milliseconds, as commands print it, finds its frame.

    Raises
    ------
    MedSegError
        If the video has ended by then.
    """
    if seconds > index.duration_s + HALF_MS:
        raise MedSegError(
            f"the video ends after {index.duration_s:.3f} s; {seconds:g} s lie behind. Give an earlier time."
        )
    return index.find_at_time(seconds + HALF_MS)


def _choose(
    reader: VideoReader, every: int | None, changes: int | None, at: Sequence[float], limits: tuple[int, int]
) -> list[int]:
    if every is not None:
        return choose_every(reader.index, *limits, every)
    if changes is None:
        return sorted({_find_frame(reader.index, seconds) for seconds in at})
    *_, choice = choose_by_appearance(reader, *limits, changes)
    assert isinstance(choice, FrameChoice)
    echo_notice(choice.text)
    return list(choice.numbers)


def _tell_remarks(index: FrameIndex) -> None:
    for remark in index.remarks:
        echo_notice(remark)


def _tell_errors(errors: Sequence[str]) -> None:
    """Write what could not be done to stderr; then the command failed."""
    for error in errors:
        typer.echo(f"medseg: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def _describe_kept(n_kept: int) -> str:
    """Return how many files of an earlier call were kept, for a message; empty if there are none."""
    return f", {n_kept:,} of them were there already" if n_kept else ""


def _predict_frame(reader: VideoReader, number: int, predictor: "Predictor", folder: FrameFolder, path: Path) -> None:
    from napari_medseg.inference.events import get_result

    image = make_plane(reader, number)
    labels = get_result(predictor.predict(image), echo_notice).labels
    folder.begin(path, number)
    formats.write_labels(path, labels, image)
    folder.record(path)


def _write_overlay(
    reader: VideoReader, files: dict[int, Path], task: Task, output: Path, chosen: Sequence[int]
) -> Path:
    path = choose_overlay_path(output, reader, task)
    write_overlay(path, reader, LabelFiles(files, chosen, reader), task, range(chosen[0], chosen[-1] + 1))
    return path
