"""Exact access to the frames of a video by their number.

A frame is decoded from the key frame before it: ten seconds of video between two key frames are a second of work. So
frames that no other one needs are skipped on the way, the last ones before the wanted frame are kept for a step back,
and decoding goes on from where it is if that is nearer than the key frame.
"""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.frame_cache import FrameCache
from napari_medseg.core.video.frame_index import FrameIndex, choose_stream, read_file_state, read_index
from napari_medseg.core.video.video_files import load_av, open_container, translate_video_errors

if TYPE_CHECKING:
    from av import VideoFrame

CACHE_BYTES = 150 * 2**20
STEPS_BACK = 1
"""So many frames before a wanted one are decoded in full, so that a step back needs no new start."""
MAX_THREADS = 8
MAX_TRIES = 4
_QUARTER_TURN = 90


def never() -> bool:
    """Return that nothing was cancelled."""
    return False


class ReadCancelled(MedSegError):
    """A frame is not wanted any more."""


class VideoReader:
    """One open video. It may be used from several threads, one at a time.

    Parameters
    ----------
    path
        The file.
    index
        Its index; `None` reads it.
    cache_bytes
        Size of the cache of decoded frames.

    Raises
    ------
    MedSegError
        If the file cannot be read, or none of its first frames can be decoded.
    """

    def __init__(self, path: Path, index: FrameIndex | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = path
        self.index = read_index(path) if index is None else index
        self._cache = FrameCache(cache_bytes)
        self._lock = threading.RLock()
        self._is_closed = False
        if self.index.file_state not in (None, read_file_state(path)):
            raise MedSegError(f"{path.name} was changed or replaced since it was opened. Open it again.")
        with translate_video_errors(path):
            self._container = open_container(path, self.index.options)
            self._stream = choose_stream(self._container)
        n_bytes = (self._stream.width or 0) * (self._stream.height or 0) * 3
        refuse_above_limit(n_bytes, n_bytes, path.name)
        self._stream.codec_context.thread_type = "AUTO"
        self._stream.codec_context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
        self._frames: Iterator[VideoFrame] = iter(())
        self._last: int | None = None
        self._wanted_pts = 0
        self._counted, self._is_count_lost = -1, False
        self._is_cancelled: Callable[[], bool] = never
        self._steps_back = STEPS_BACK
        first = self._decode_first()
        self._size = first.width, first.height
        self._quarter_turns = round(float(getattr(first, "rotation", 0)) / _QUARTER_TURN) % 4
        height, width = (first.height, first.width) if self._quarter_turns % 2 == 0 else (first.width, first.height)
        self.shape: tuple[int, int, int, int] = (self.index.n_frames, height, width, 3)
        self.codec = str(self._stream.codec_context.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A second call has no effect."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._frames = iter(())
                self._cache.clear()
                self._container.close()

    @property
    def cached_bytes(self) -> int:
        """Size of the decoded frames that are kept."""
        return self._cache.n_bytes

    def read(
        self, number: int, is_cancelled: Callable[[], bool] = never, steps_back: int = STEPS_BACK
    ) -> NDArray[np.uint8]:
        """Return a frame as it is to be shown, upright, RGB.

        Parameters
        ----------
        number
            From 0 on.
        is_cancelled
            Asked before each frame on the way.
        steps_back
            So many frames before it are kept, too, if they must be decoded anyway.

        Returns
        -------
        array
            (height, width, 3).

        Raises
        ------
        MedSegError
            If the video has no such frame, or it is damaged there; `ReadCancelled` if it is not wanted any more.
        """
        with self._lock:
            self._is_cancelled, self._steps_back = is_cancelled, steps_back
            return self._convert(self._find(number), *self._size)

    def decode(self, number: int, is_cancelled: Callable[[], bool] = never, steps_back: int = STEPS_BACK) -> None:
        """Decode a frame, so that `read` is quick. Parameters and errors are those of `read`."""
        with self._lock:
            self._is_cancelled, self._steps_back = is_cancelled, steps_back
            self._find(number)

    def read_small(self, number: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return a frame at another size (height, width, 3), as stored: it is not turned. See `read`."""
        with self._lock:
            self._is_cancelled, self._steps_back = never, 0
            return self._to_rgb(self._find(number), width, height)

    def count_frames_to(self, number: int) -> int:
        """Return how many frames must be decoded to reach one; 0 if it is kept."""
        if number in self._cache:
            return 0
        key = int(self.index.keys[self.index.find_key(number)])
        last = self._last
        return number - (last if last is not None and key <= last < number else key - 1)

    def _find(self, number: int) -> "VideoFrame":
        if self._is_closed:
            raise MedSegError(f"{self.path.name} was closed. Open it again.")
        if not 0 <= number < self.index.n_frames:
            raise MedSegError(
                f"{self.path.name} has no frame {number:,}; its frames are 0 to {self.index.n_frames - 1:,}."
            )
        kept = self._cache.get(number)
        return self._decode(number) if kept is None else kept

    def _decode(self, number: int) -> "VideoFrame":
        """Decode forward to a frame: from where the decoder is, else from a key frame, else from an earlier one."""
        place = self.index.find_key(number)
        goes_on = self._last is not None and int(self.index.keys[place]) <= self._last < number
        starts = [None] * goes_on + [*range(place, max(-1, place - MAX_TRIES), -1)] + [-1] * (place < MAX_TRIES)
        for start in starts:
            with translate_video_errors(self.path):
                self._wanted_pts = int(self.index.pts[max(0, number - self._steps_back)])
                if start is not None:
                    self._seek(start)
                if (frame := self._go_to(number)) is not None:
                    return frame
        raise MedSegError(
            f"frame {number:,} of {self.path.name} (at {self.index.get_time(number):.2f} s) cannot be decoded: the "
            "file is damaged there. Choose another frame."
        )

    def _go_to(self, number: int) -> "VideoFrame | None":
        for frame in self._frames:
            at = self._find_number(frame)
            if at is None:
                continue
            self._last = at
            self._cache.add(at, frame)
            if at == number:
                return frame
            if at > number:
                return None
            if self._is_cancelled():
                raise ReadCancelled("another frame is wanted")
        self._last = None
        return None

    def _find_number(self, frame: "VideoFrame") -> int | None:
        """Return the number of a decoded frame; `None` if it is none that is shown."""
        if not self.index.is_counted:
            return self.index.find_number(frame.pts)
        self._counted += 1
        return self._counted if self._counted < self.index.n_frames and not self._is_count_lost else None

    def _seek(self, place: int) -> None:
        """Go to a key frame by its place in the index; -1 is the start of the file."""
        index = self.index
        if place < 0:
            self._container.seek(0)
            target = min(int(index.pts[0]), int(index.key_dts[0])) - 1
        else:
            target = self._find_seek_target(place)
        self._container.seek(target, stream=self._stream, backward=True, any_frame=False)
        self._last, self._is_count_lost = None, False
        self._counted = int(index.keys[max(0, place)]) - 1
        self._frames = self._iterate()

    def _find_seek_target(self, place: int) -> int:
        """Return the time that leads to a key frame; one a little too early costs the group before it."""
        index, name = self.index, self._container.format.name
        begins = int(index.key_pts[place])
        if "matroska" in name:
            return begins
        if "mp4" in name:  # it shifts times by the longest reordering of the file: only the middle is safe
            last_group = place + 1 >= len(index.key_pts)
            ends = int(index.pts[-1] if last_group else index.key_pts[place + 1])
            return (begins + ends) // 2
        return min(begins, int(index.key_dts[place]))

    def _iterate(self) -> Iterator["VideoFrame"]:
        """Yield decoded frames in the order in which they are shown."""
        av, context = load_av(), self._stream.codec_context
        has_begun = False
        for packet in self._container.demux(self._stream):
            has_begun = has_begun or packet.is_keyframe or not packet.size
            if not has_begun:
                continue
            is_near = self.index.is_counted or packet.pts is None or packet.pts >= self._wanted_pts
            if is_near != (context.skip_frame == "DEFAULT"):
                context.skip_frame = "DEFAULT" if is_near else "NONREF"
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self._is_count_lost = True  # up to the next start
                continue  # the next packets may be whole
            yield from frames

    def _decode_first(self) -> "VideoFrame":
        for place in range(min(MAX_TRIES, len(self.index.keys))):
            try:
                return self._decode(int(self.index.keys[place]))
            except MedSegError as error:
                problem = error
        self.close()
        raise MedSegError(f"{self.path.name} cannot be shown. {problem}")

    def _convert(self, frame: "VideoFrame", width: int, height: int) -> NDArray[np.uint8]:
        pixels = self._to_rgb(frame, width, height)
        return np.ascontiguousarray(np.rot90(pixels, self._quarter_turns)) if self._quarter_turns else pixels

    def _to_rgb(self, frame: "VideoFrame", width: int, height: int) -> NDArray[np.uint8]:
        return np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), np.uint8)
