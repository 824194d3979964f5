"""Writes a video with labels drawn over its frames, in the colours of the task."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import make_temporary_path, replace_file, sync_file
from napari_medseg.core.errors import MedSegError, format_os_error
from napari_medseg.core.label_files.description import parse_colour
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.video.video_files import load_av, open_container, translate_video_errors

OPACITY = 0.45
EDGE_OPACITY = 0.9
OBJECT_HUES = ((255, 160, 0), (0, 190, 255), (120, 220, 60), (240, 90, 140), (250, 230, 70), (150, 130, 255))
ENCODERS = ("libx264", "mpeg4")
"""The first one that this PyAV has is used."""


class OverlayVideo:
    """A video that is being written; use it in a ``with`` statement. Times are those of the frames that are added.

    Parameters
    ----------
    path
        Ends in ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``. It is written beside it, and replaces an existing
        file only when it is complete.
    shape
        Height and width of the frames; odd sizes lose a row or a column, as the formats have none.
    rate
        Frames a second, for programs that do not look at the times.
    comment
        What the file says about itself; see `read_comment`.

    Raises
    ------
    MedSegError
        If the file cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int], rate: float, comment: str = "") -> None:
        av = load_av()
        self._path = path
        self._temporary = make_temporary_path(path)
        self._height, self._width = (side - side % 2 for side in shape)
        self.encoder = choose_encoder(path)
        with _translate_write_errors(path):
            self._container = av.open(str(self._temporary.absolute()), "w")
            self._container.metadata["comment"] = comment
            self._stream: Any = self._container.add_stream(self.encoder, rate=Fraction(rate).limit_denominator(1001))
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 1000)
        if self.encoder == "libx264":
            self._stream.options = {"crf": "18", "preset": "veryfast"}
        else:
            self._stream.bit_rate = 8_000_000
        self._last_ms = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with _translate_write_errors(self._path):
                try:
                    if kind is None:
                        self._container.mux(self._stream.encode())
                finally:
                    self._container.close()  # it writes what is left, so that a full disk shows here, too
                if kind is None:
                    sync_file(self._temporary)
                    replace_file(self._temporary, self._path)
        except MedSegError:
            if kind is None:  # else the first error is the reason
                raise
        finally:
            with suppress(OSError):  # a failed clean-up must not hide the error above
                self._temporary.unlink(missing_ok=True)

    def add(self, pixels: NDArray[np.uint8], seconds: float) -> None:
        """Add a frame (height, width, 3) that is shown from this time on, in seconds."""
        av = load_av()
        cut = np.ascontiguousarray(pixels[: self._height, : self._width])
        self._last_ms = max(round(seconds * 1000), self._last_ms + 1)
        frame = av.VideoFrame.from_ndarray(cut, format="rgb24")
        frame.pts, frame.time_base = self._last_ms, Fraction(1, 1000)
        with _translate_write_errors(self._path):
            self._container.mux(self._stream.encode(frame))


def read_comment(path: Path) -> str:
    """Return what a video says about itself; empty if it says nothing, or cannot be read."""
    with suppress(MedSegError), translate_video_errors(path), open_container(path, {}) as container:
        return str(container.metadata.get("comment", container.metadata.get("COMMENT", "")))
    return ""


def draw_labels(pixels: NDArray[np.uint8], labels: NDArray[Any], task: Task) -> NDArray[np.uint8]:
    """Return a frame with labels over it: their colours half clear, and their edges strong.

    Parameters
    ----------
    pixels
        RGB (height, width, 3).
    labels
        Integers (height, width).
    task
        Gives the colours; numbered objects get colours in turn.
    """
    if pixels.shape[:2] != labels.shape:
        raise MedSegError(f"the labels are {labels.shape} pixels, and the frame is {pixels.shape[:2]}.")
    if not labels.any():
        return pixels
    colours = _make_colours(labels, task)
    inside = labels > 0
    edge = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        differs = np.diff(labels.astype(np.int64), axis=axis) != 0
        before = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        edge[before] |= differs
    share = np.where(edge & inside, EDGE_OPACITY, OPACITY)[inside][:, np.newaxis]
    drawn = pixels.copy()
    drawn[inside] = (pixels[inside] * (1 - share) + colours[inside] * share).round().astype(np.uint8)
    return drawn


def choose_encoder(path: Path) -> str:
    """Return the encoder that is used: H.264 where PyAV has it, else MPEG-4."""
    av = load_av()
    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except av.error.FFmpegError:
            continue
        return name
    raise MedSegError(f"this PyAV writes neither H.264 nor MPEG-4, so {path.name} cannot be written. Install another.")


@contextmanager
def _translate_write_errors(path: Path) -> Iterator[None]:
    """Raise what PyAV says of a video that is written as `MedSegError`, with the advice for errors of disks."""
    av = load_av()
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = OSError(error.errno, error.strerror or type(error).__name__)  # not all errors of PyAV are one
        raise MedSegError(f"{path.name} could not be written: {format_os_error(reason)}") from error


def _make_colours(labels: NDArray[Any], task: Task) -> NDArray[np.float32]:
    if task.instances:
        return np.asarray(np.array(OBJECT_HUES, np.float32)[labels % len(OBJECT_HUES)], np.float32)
    table = np.zeros((int(labels.max()) + 1, 3), np.float32)
    for label in task.labels:
        if label.value < len(table):
            table[label.value] = parse_colour(label.colour)
    return np.asarray(table[labels], np.float32)
