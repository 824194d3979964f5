"""Predicts the frames of a range of a video in the background; what a person waits for comes first."""

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.video.predicted_frames import PredictedFrames
from napari_medseg.workflow.workspace import Workspace

WAIT_S = 0.1
MAX_FAILURES = 3


@dataclass(frozen=True)
class RangeProgress:
    """How far the prediction of a range is: frames done, frames in all, seconds left (`None` unknown), newest frame.

    `problem` says why a frame was left out; empty if it was not.
    """

    n_done: int
    n_frames: int
    seconds_left: float | None = None
    newest: int | None = None
    problem: str = ""

    @property
    def text(self) -> str:
        """Text for a person."""
        left = "" if self.seconds_left is None else f", about {format_duration(self.seconds_left)} left"
        return f"{self.n_done:,} of {self.n_frames:,} frames predicted{left}"


def list_range(first: int, last: int, step: int) -> range:
    """Return the frames of a range that are predicted.

    Raises
    ------
    MedSegError
        If there are none.
    """
    if step < 1 or last < first:
        raise MedSegError("the range is empty. Give an end that is after its beginning, and a step of 1 or more.")
    return range(first, last + 1, step)


def predict_range(
    ws: Workspace,
    model: str,
    reader: VideoReader,
    numbers: Iterable[int],
    predicted: PredictedFrames,
    is_free: Callable[[], bool] = lambda: True,
) -> Generator[RangeProgress]:
    """Predict frames that are not predicted yet. Call this in the main thread, and iterate in a worker thread.

    Parameters
    ----------
    ws, model
        Workspace and version such as ``instruments-unet@3``.
    reader
        A reader of the video of its own, closed at the end.
    numbers
        The frames.
    predicted
        Gets the labels of each frame at once, so that a later call goes on where this one ended.
    is_free
        Asked before each frame: whether nothing else is to be predicted now.

    Raises
    ------
    MedSegError
        If several frames one after another cannot be predicted.
    """
    roi_model = ws.registry.find_roi_model(ws.registry.get_card(model))
    folder = ws.registry.get_folder(model)
    roi_folder = None if roi_model is None else ws.registry.get_folder(roi_model.id)
    wanted = list(numbers)
    left = sorted(set(wanted) - set(predicted.numbers.tolist()))

    def predict_one(image: Image) -> PredictionResult | None:
        try:
            for event in ws.engine.predict(image, folder, roi_folder=roi_folder):
                if isinstance(event, PredictionResult):
                    return event
        except PredictionCancelled:
            pass  # a person's request came between
        return None

    return _predict_each(left, len(wanted), reader, predicted, predict_one, is_free)


def _predict_each(
    left: list[int],
    n_frames: int,
    reader: VideoReader,
    predicted: PredictedFrames,
    predict_one: Callable[[Image], PredictionResult | None],
    is_free: Callable[[], bool],
) -> Generator[RangeProgress]:
    n_done, n_failed, spent_s = n_frames - len(left), 0, 0.0
    began_with = n_done
    try:
        yield RangeProgress(n_done, n_frames)
        for number in left:
            problem = ""
            while True:
                while not is_free():
                    time.sleep(WAIT_S)
                    yield RangeProgress(n_done, n_frames)  # so that it can be stopped
                began = time.monotonic()
                try:
                    result = predict_one(make_plane(reader, number))
                except MedSegError as error:
                    problem, n_failed = str(error), n_failed + 1
                    if n_failed >= MAX_FAILURES:
                        raise
                    break
                if result is not None:
                    predicted.write(number, result.labels)
                    n_failed = 0
                    break
                yield RangeProgress(n_done, n_frames)
            spent_s += time.monotonic() - began
            n_done += 1
            seconds_left = spent_s / (n_done - began_with) * (n_frames - n_done)
            yield RangeProgress(n_done, n_frames, seconds_left, number, problem)
    finally:
        reader.close()


def make_plane(reader: VideoReader, number: int) -> Image:
    """Return a frame as an image for the engine; it names no one."""
    return Image(reader.read(number), "YXC", units="rgb", name=f"frame {number}")


def format_duration(seconds: float) -> str:
    """Return a duration in words, such as ``12 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
