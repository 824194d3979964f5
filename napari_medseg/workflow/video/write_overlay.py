"""Writes a video with the labels of its frames drawn over them."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import make_file_stem
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.video.overlay_video import OverlayVideo, draw_labels, read_comment
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow.video.moved_videos import find_frames_of
from napari_medseg.workflow.video.predict_range import make_plane
from napari_medseg.workflow.video.predicted_frames import PredictedFrames
from napari_medseg.workflow.video.write_frames import Row

HOLD_S = 1.0
"""Labels of a predicted frame are drawn on the frames that follow it, for at most so long."""


class FrameLabels(Protocol):
    """The labels of the frames of a video."""

    def read(self, number: int) -> NDArray[Any] | None:
        """Return the labels of a frame (height, width); `None` if there are none."""


class DrawnLabels:
    """The labels to draw: those that a person accepted, else those of the last predicted frame.

    Parameters
    ----------
    folder
        Of the project.
    rows
        Accepted cases; those of other videos are left out.
    predicted
        Labels of predicted frames; `None` if there are none.
    reader
        Of the video.
    """

    def __init__(self, folder: Path, rows: list[Row], predicted: PredictedFrames | None, reader: VideoReader) -> None:
        self._folder = folder
        self._predicted = predicted
        self._reader = reader
        self._accepted: dict[int, tuple[Row, int | None]] = {}
        shown = find_frames_of((row[0] for row in rows), reader, folder)
        for row in rows:
            if (frames := shown.get(row[0].id)) is not None:
                for place, number in enumerate(frames.numbers):
                    self._accepted[number] = row, place if frames.is_series else None
        self._last: tuple[int, NDArray[Any] | None] = -1, None

    @property
    def reach(self) -> int:
        """On how many frames after a predicted one its labels are drawn."""
        return 0 if self._predicted is None else find_reach(self._predicted.numbers, self._reader)

    @property
    def has_labels(self) -> bool:
        """Whether any frame has labels."""
        return bool(self._accepted) or (self._predicted is not None and len(self._predicted.numbers) > 0)

    def read(self, number: int) -> NDArray[Any] | None:
        """Return the labels of a frame (height, width); `None` if there are none."""
        if number in self._accepted:
            (case, correction, _), place = self._accepted[number]
            labels = read_case_labels(self._folder, case, correction)
            return labels if place is None else labels[place]
        if self._predicted is None or (shown := self._predicted.find_shown(number, self.reach)) is None:
            return None
        if self._last[0] != shown:
            self._last = shown, self._predicted.read(shown)
        return self._last[1]


class LabelFiles:
    """The labels of files that a command wrote, held like those of a prediction in the window.

    Parameters
    ----------
    files
        Path of the labels of each frame.
    chosen
        Numbers of the frames that were to be labelled: those without a file have no labels, nor do those after them.
    reader
        Of the video.
    """

    def __init__(self, files: Mapping[int, Path], chosen: Sequence[int], reader: VideoReader) -> None:
        self._files = files
        self._chosen = np.array(sorted(chosen), np.int64)
        self._reader = reader
        self._reach = find_reach(self._chosen, reader)
        self._last: tuple[int, NDArray[Any] | None] = -1, None

    def read(self, number: int) -> NDArray[Any] | None:
        """Return the labels of a frame (height, width); `None` if there are none."""
        place = int(np.searchsorted(self._chosen, number, side="right")) - 1
        shown = int(self._chosen[place])
        if place < 0 or number - shown > self._reach or shown not in self._files:
            return None
        if self._last[0] != shown:
            self._last = shown, formats.read_labels(self._files[shown], make_plane(self._reader, shown))
        return self._last[1]


def find_reach(numbers: NDArray[np.int64], reader: VideoReader) -> int:
    """Return on how many frames after a predicted one its labels are shown: up to the next one, at most a second."""
    if len(numbers) < 2:
        return 0
    return min(int(np.diff(numbers).max()), max(1, round(HOLD_S * reader.index.rate))) - 1


def choose_overlay_path(folder: Path, reader: VideoReader, task: Task) -> Path:
    """Return the path of a video with labels: a free one, or that of an earlier one of this video and task.

    Videos of several folders may have one name, so a file of another one is never replaced.
    """
    number = 1
    while True:
        extra = f" {number}" if number > 1 else ""
        path = folder / f"{make_file_stem(reader.path.stem)} with labels{extra}.mp4"
        if not os.path.lexists(path) or read_comment(path) == make_comment(reader, task):
            return path
        number += 1


def make_comment(reader: VideoReader, task: Task) -> str:
    """Return what a video with labels says about itself: of which content and task it is."""
    return f"napari-medseg: {task.name} on {reader.index.content[:16]}"


def write_overlay(
    path: Path,
    reader: VideoReader,
    labels: FrameLabels,
    task: Task,
    frames: range,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> int:
    """Write a part of a video with labels over it; return how many of its frames have labels.

    Parameters
    ----------
    path
        Of `choose_overlay_path`. An existing file is replaced when the new one is complete.
    reader, labels, task
        The video, its labels, and the task that gives their colours.
    frames
        Frame numbers.
    report
        Called with how many frames are done, and of how many; it may raise to stop.

    Raises
    ------
    MedSegError
        If the range is empty, no frame has labels, or the file cannot be written.
    """
    if not frames:
        raise MedSegError("the range is empty. Give an end that is after its beginning.")
    path.parent.mkdir(parents=True, exist_ok=True)
    begin_s, n_drawn = reader.index.get_time(frames[0]), 0
    with OverlayVideo(path, reader.shape[1:3], reader.index.rate, make_comment(reader, task)) as video:
        for done, number in enumerate(frames, start=1):
            try:
                picture = reader.read(number)
            except MedSegError:  # damaged there: the frame before is shown longer
                continue
            if (found := labels.read(number)) is not None:
                picture = draw_labels(picture, found, task)
                n_drawn += 1
            video.add(picture, reader.index.get_time(number) - begin_s)
            report(done, len(frames))
        if not n_drawn:
            raise MedSegError(
                "no frame of this range has labels. Predict the range, or accept frames of it, then export."
            )
    return n_drawn
