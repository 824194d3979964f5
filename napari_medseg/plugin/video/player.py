"""Plays a video in its own time, with at most ten pictures a second; it leaves pictures out if the machine is slow."""

import time

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.video.frame_index import FrameIndex

INTERVAL_MS = 100


class Player(QObject):
    """A clock for a video; `stepped` carries the frame that is to be shown now, `ended` that it plays no more."""

    stepped = Signal(int)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._index: FrameIndex | None = None
        self._begin_s = 0.0
        self._began = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._step)
        self.is_ready = lambda: True

    @property
    def is_playing(self) -> bool:
        """Whether it plays."""
        return self._timer.isActive()

    def play(self, index: FrameIndex, number: int) -> None:
        """Play from a frame on; from the beginning if that is the last one."""
        self._index = index
        self._begin_s = index.get_time(0 if number >= index.n_frames - 1 else number)
        self._began = time.monotonic()
        self._timer.start()

    def stop(self) -> None:
        """Stop playing."""
        if self.is_playing:
            self._timer.stop()
            self.ended.emit()

    def _step(self) -> None:
        if self._index is None or not self.is_ready():  # the picture before is not decoded yet
            return
        number = self._index.find_at_time(self._begin_s + time.monotonic() - self._began)
        self.stepped.emit(number)
        if number >= self._index.n_frames - 1:
            self.stop()
