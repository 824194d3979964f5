"""Decoded frames that are kept: the last used ones, up to a number of bytes."""

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame


class FrameCache:
    """Keeps frames as the decoder makes them, which take half the memory of RGB.

    Parameters
    ----------
    max_bytes
        The least recently used frames are dropped above it; the newest one stays.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[int, tuple[VideoFrame, int]] = OrderedDict()
        self.n_bytes = 0

    def __contains__(self, number: int) -> bool:
        return number in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, number: int) -> "VideoFrame | None":
        """Return the frame with a number; `None` if it is not kept."""
        if number not in self._frames:
            return None
        self._frames.move_to_end(number)
        return self._frames[number][0]

    def add(self, number: int, frame: "VideoFrame") -> None:
        """Keep a frame of PyAV under its number."""
        self._drop(number)
        n_bytes = sum(plane.buffer_size for plane in frame.planes)
        self._frames[number] = frame, n_bytes
        self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes and len(self._frames) > 1:
            self._drop(next(iter(self._frames)))

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()
        self.n_bytes = 0

    def _drop(self, number: int) -> None:
        _, n_bytes = self._frames.pop(number, (None, 0))
        self.n_bytes -= n_bytes
