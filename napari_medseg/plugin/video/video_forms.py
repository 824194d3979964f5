"""The forms of a video: which frames are chosen, predicted, opened as a series, or exported. Times are in seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.frame_paths import MAX_SERIES

EXPORT_KINDS = (
    ("Frames and masks, with COCO and video ids", "coco"),
    ("Video with labels drawn over it", "overlay"),
)


@dataclass(frozen=True)
class FrameRange:
    """The part of a video that a form is about, in frame numbers, and which of its frames."""

    first: int
    last: int
    step: int = 1


def make_every_form(index: FrameIndex, marked: FrameRange, use: Callable[[FrameRange], None]) -> FunctionGui:
    """Make the form for every n-th frame, which calls `use`."""

    def choose(begin: float, end: float, step: int) -> None:
        use(_make_range(index, begin, end, step))

    step = _describe_step(max(1, round(index.rate)), "Of these frames one becomes a case: 25 is each 25th")
    return magicgui(choose, call_button=False, **_describe_range(index, marked), step=step)


def make_change_form(index: FrameIndex, marked: FrameRange, use: Callable[[FrameRange, int], None]) -> FunctionGui:
    """Make the form for frames that look different, which calls `use` with a range and how many."""

    def choose(begin: float, end: float, count: int) -> None:
        use(_make_range(index, begin, end, 1), count)

    count = {
        "label": "Number of frames",
        "min": 1,
        "max": 500,
        "value": 20,
        "tooltip": "Those that differ most from each other and from the chosen ones; fewer if the rest looks alike",
    }
    return magicgui(choose, call_button=False, **_describe_range(index, marked), count=count)


def make_series_form(index: FrameIndex, number: int, use: Callable[[FrameRange], None]) -> FunctionGui:
    """Make the form for a short series that begins at a frame, which calls `use`."""

    def choose(count: int, step: int) -> None:
        use(FrameRange(number, min(number + (count - 1) * step, index.n_frames - 1), step))

    count = {
        "label": "Number of frames",
        "min": 2,
        "max": MAX_SERIES,
        "value": 9,
        "tooltip": "They are one case with the time as slices: what you change on one is proposed on the next ones",
    }
    step = _describe_step(1, "1 takes frames that follow each other; the less moves between them, the better")
    return magicgui(choose, call_button=False, count=count, step=step)


def make_predict_form(index: FrameIndex, marked: FrameRange, use: Callable[[FrameRange], None]) -> FunctionGui:
    """Make the form of a range to predict, which calls `use`."""

    def predict(begin: float, end: float, step: int) -> None:
        use(_make_range(index, begin, end, step))

    step = _describe_step(max(1, round(index.rate / 10)), "Labels for each n-th frame; those between show them, too")
    return magicgui(predict, call_button=False, **_describe_range(index, marked), step=step)


def make_video_export_form(
    index: FrameIndex, marked: FrameRange, folder: Path, use: Callable[[str, Path, FrameRange], None]
) -> FunctionGui:
    """Make the form of an export, which calls `use` with a kind, a folder and a range."""

    def export(kind: str, folder: Path, begin: float, end: float) -> None:
        use(kind, folder, _make_range(index, begin, end, 1))

    return magicgui(
        export,
        call_button=False,
        kind={"label": "What", "choices": EXPORT_KINDS, "value": "coco"},
        folder={"label": "Folder", "mode": "d", "value": folder, "tooltip": "Created if it does not exist"},
        **_describe_range(index, marked),
    )


def _describe_range(index: FrameIndex, marked: FrameRange) -> dict[str, Any]:
    last_s = round(index.duration_s, 2)
    begin, end = round(index.get_time(marked.first), 2), round(index.get_time(marked.last), 2)
    tooltip = "Seconds from the beginning of the video; Shift and drag on the time axis marks a range"
    common = {"min": 0.0, "max": last_s, "step": 0.1, "tooltip": tooltip}
    return {"begin": common | {"label": "From (s)", "value": begin}, "end": common | {"label": "To (s)", "value": end}}


def _describe_step(step: int, tooltip: str) -> dict[str, Any]:
    return {"label": "Each n-th frame", "min": 1, "max": 100_000, "value": step, "tooltip": tooltip}


def _make_range(index: FrameIndex, begin: float, end: float, step: int) -> FrameRange:
    return FrameRange(index.find_at_time(begin + 0.005), index.find_at_time(end + 0.005), step)
