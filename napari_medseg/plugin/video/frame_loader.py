"""Decodes frames in a thread: always the newest that is wanted, and ahead while nothing is wanted.

While a video plays, frames that are not shown and that no other one needs are not decoded.
"""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.video_reader import STEPS_BACK, ReadCancelled, VideoReader
from napari_medseg.plugin.widgets.worker import Worker

FAR = 16
"""If more frames must be decoded for the wanted one, its key frame is shown first."""
AHEAD = 12
"""Frames that are decoded ahead."""
BEHIND = 24
"""After a step back, so many frames before are kept for the next ones."""
LabelReader = Callable[[int], NDArray[Any] | None]


@dataclass(frozen=True, eq=False)
class LoadedFrame:
    """A frame with its labels (`None` if it has none). `wanted` differs from `number` for a picture on the way."""

    wanted: int
    number: int
    picture: NDArray[np.uint8]
    labels: NDArray[Any] | None


class FrameLoader(QObject):
    """Reads frames of one video; `loaded` carries a `LoadedFrame`, `failed` a number and why it cannot be shown.

    Parameters
    ----------
    reader
        Open video, closed with the loader.
    read_labels
        Returns the labels of a frame; called in the thread.
    """

    loaded = Signal(object)
    failed = Signal(int, str)

    def __init__(self, reader: VideoReader, read_labels: LabelReader, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.reader = reader
        self._read_labels = read_labels
        self._condition = threading.Condition()
        self._wanted: int | None = None
        self._plays = False
        self._last = 0
        self._is_closed = False
        self._worker = Worker(self._serve(), self)
        self._worker.yielded.connect(self._deliver)
        self._worker.start()

    def request(self, number: int, *, plays: bool = False) -> None:
        """Read a frame; a request that was not begun is forgotten, and one under way is given up.

        With `plays`, the next one will be as far ahead as this one is of the last.
        """
        with self._condition:
            self._wanted, self._plays = number, plays
            self._condition.notify()

    def close(self) -> None:
        """Stop the thread, and close the video."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        self._worker.stop()

    def _serve(self) -> Generator[LoadedFrame | tuple[int, str]]:
        try:
            while (number := self._wait()) is not None:
                try:
                    stride = number - self._last if self._plays else 0
                    if 0 < stride <= AHEAD:
                        yield self._read(number, 0)
                        self._decode_next(number, stride)
                    else:
                        yield from self._load(number)
                        self._decode_ahead(number)
                except ReadCancelled:
                    continue
                except MedSegError as error:
                    yield number, str(error)
        finally:
            self.reader.close()

    def _wait(self) -> int | None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed or self._wanted is not None)
            number, self._wanted = self._wanted, None
            return None if self._is_closed else number

    def _is_overtaken(self) -> bool:
        return self._wanted is not None or self._is_closed

    def _load(self, number: int) -> Generator[LoadedFrame]:
        reader = self.reader
        if reader.count_frames_to(number) > FAR:
            key = int(reader.index.keys[reader.index.find_key(number)])
            yield LoadedFrame(number, key, reader.read(key, self._is_overtaken), None)
        is_step_back = 0 < self._last - number <= BEHIND
        yield self._read(number, BEHIND if is_step_back else STEPS_BACK)

    def _read(self, number: int, steps_back: int) -> LoadedFrame:
        self._last = number
        picture = self.reader.read(number, self._is_overtaken, steps_back)
        return LoadedFrame(number, number, picture, self._read_labels(number))

    def _decode_next(self, number: int, stride: int) -> None:
        following = number + stride
        if following < self.reader.index.n_frames and not self._is_overtaken():
            self.reader.decode(following, self._is_overtaken, 0)

    def _decode_ahead(self, number: int) -> None:
        for following in range(number + 1, min(number + 1 + AHEAD, self.reader.index.n_frames)):
            if self._is_overtaken():
                return
            self.reader.decode(following, self._is_overtaken)

    def _deliver(self, item: object) -> None:
        match item:
            case LoadedFrame():
                self.loaded.emit(item)
            case (int(number), str(text)):
                self.failed.emit(number, text)
