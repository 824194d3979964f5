"""The index of a video: when each frame is shown, and which frames can be decoded without others.

It is read from the packets of the file without decoding them, and holds 8 bytes for each frame: two hours at 30 frames
a second take 1.7 MB. A frame has a number from 0 on, in the order in which frames are shown, so that one number is one
picture however it was reached.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.closed_groups import REORDERED, begins_closed_group
from napari_medseg.core.video.content_hash import ContentHash
from napari_medseg.core.video.video_files import load_av, open_container, translate_video_errors

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_INDEXES = 32
REPORT_PACKETS = 2000
MISSING_S = 1.0
"""A file that ends earlier than its header says, by more than this, is said to be cut."""
_TICKS_A_SECOND = 1_000_000
_INEXACT = {"mpeg": "an MPEG program stream", "asf": "a Windows Media file"}
Report = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Times and key frames of a video.

    Parameters
    ----------
    pts
        Time stamps of the frames in the order in which they are shown, int64, in units of `time_base`.
    keys
        Numbers of the frames from which decoding can begin, ascending.
    key_pts, key_dts
        Where they are found in the file: time stamps of showing and of decoding.
    time_base
        Seconds of one unit of a time stamp.
    options
        Options with which the file is opened.
    is_counted
        Whether the file gives no time stamps of showing, as AVI of H.264: then frames are counted from the key frame
        on, and only those count as key frames that begin a closed group.
    remarks
        What is missing or damaged, one sentence each.
    content
        Hash of the content, see `core.video.content_hash`.
    file_state
        Size in bytes and time of change, in ns, of the file that was read; `None` if it is not known.
    """

    pts: NDArray[np.int64]
    keys: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    time_base: Fraction
    options: dict[str, str] = field(default_factory=dict)
    is_counted: bool = False
    remarks: tuple[str, ...] = ()
    content: str = ""
    file_state: tuple[int, int] | None = None

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(self.pts)

    @property
    def duration_s(self) -> float:
        """Time from the first frame to the end of the last one, in seconds."""
        return self.get_time(self.n_frames - 1) + 1 / self.rate

    @property
    def rate(self) -> float:
        """Frames a second; the mean if it varies."""
        span = self.get_time(self.n_frames - 1)
        return (self.n_frames - 1) / span if span > 0 else 25.0

    @property
    def is_rate_constant(self) -> bool:
        """Whether all frames are shown equally long, as exact as time stamps are."""
        steps = np.diff(self.pts)
        return len(steps) == 0 or int(np.ptp(steps)) <= max(1, round(0.02 * float(np.median(steps))))

    @property
    def longest_group(self) -> int:
        """Longest distance of two key frames: so many frames are decoded for one, at most."""
        return int(np.diff([*self.keys, self.n_frames]).max())

    def get_time(self, number: int) -> float:
        """Return when a frame is shown, in seconds after the first one."""
        return float((int(self.pts[number]) - int(self.pts[0])) * self.time_base)

    def find_at_time(self, seconds: float) -> int:
        """Return the number of the frame that is shown at a time; the first or last one outside of the video."""
        ticks = int(self.pts[0]) + seconds / float(self.time_base)
        return int(np.clip(np.searchsorted(self.pts, ticks + 0.5, side="right") - 1, 0, self.n_frames - 1))

    def find_number(self, pts: int | None) -> int | None:
        """Return the number of the frame with a time stamp; `None` if no frame has it."""
        if pts is None:
            return None
        at = int(np.searchsorted(self.pts, pts))
        return at if at < self.n_frames and int(self.pts[at]) == pts else None

    def find_key(self, number: int) -> int:
        """Return the place in `keys` of the last key frame at or before a frame."""
        return max(0, int(np.searchsorted(self.keys, number, side="right")) - 1)


def read_index(path: Path, report: Report = lambda _share: None) -> FrameIndex:
    """Return the index of a video; it is kept as long as the file does not change.

    Parameters
    ----------
    path
        The file.
    report
        Called with the share of the file that was read, in [0, 1]; it may raise to stop.

    Raises
    ------
    MedSegError
        If the file is missing, has no picture, or is so damaged that nothing can be read.
    """
    return _read_kept(_Kept(path.absolute(), *read_file_state(path), report))


def read_file_state(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file; raise `MedSegError` if it is missing."""
    with translate_video_errors(path):
        state = path.stat()
    return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class _Kept:
    path: Path
    n_bytes: int
    mtime_ns: int
    report: Report = field(compare=False)


@lru_cache(maxsize=MAX_INDEXES)
def _read_kept(file: _Kept) -> FrameIndex:
    packets = _Packets.read(file.path, {}, file.report)
    if packets.lacks_times:  # AVI and MPEG-PS: the library computes them from the order of decoding
        packets = _Packets.read(file.path, {"fflags": "+genpts"}, file.report)
    if not packets.rows:
        raise MedSegError(
            f"{file.path.name} holds no frame that can be read. It may be damaged or empty; export it again."
        )
    return packets.make_index((file.n_bytes, file.mtime_ns))


@dataclass
class _Packets:
    """What the packets of a video say: time of showing, time of decoding, and whether it is a key frame."""

    path: Path
    options: dict[str, str]
    time_base: Fraction
    stated_s: float
    format_name: str
    codec: str
    rows: list[tuple[int, int, bool]] = field(default_factory=list)
    content: ContentHash = field(default_factory=ContentHash)
    n_untimed: int = 0
    problem: str = ""

    @property
    def lacks_times(self) -> bool:
        """Whether some packets have no time of showing, and another reading may find it."""
        return self.n_untimed > 0 and not self.options and not self.is_counted

    @property
    def is_counted(self) -> bool:
        """Whether only the order of decoding is known; see `FrameIndex`."""
        return self.format_name == "avi" and self.codec in REORDERED

    @classmethod
    def read(cls, path: Path, options: dict[str, str], report: Report) -> "_Packets":
        with translate_video_errors(path), open_container(path, options) as container:
            if not container.streams.video:
                raise MedSegError(f"{path.name} has no picture. Choose a video.")
            refuse_inexact(container, path)
            stream = choose_stream(container)
            time_base = Fraction(stream.time_base or 1)
            stated_s = float(stream.duration * time_base) if stream.duration else 0.0
            if not stated_s and container.duration:  # of the whole file: sound may be a little longer
                stated_s = container.duration / _TICKS_A_SECOND - MISSING_S
            found = cls(path, options, time_base, stated_s, container.format.name, stream.codec_context.name)
            found._collect(container, stream, report)
        return found

    def _collect(self, container: "InputContainer", stream: "VideoStream", report: Report) -> None:
        av, size, extradata = load_av(), max(1, container.size), stream.codec_context.extradata
        try:
            for number, packet in enumerate(container.demux(stream)):
                if not packet.size or packet.is_discard:  # the end, or outside of what an edit list shows
                    continue
                if number % REPORT_PACKETS == 0:
                    report(min(1.0, (packet.pos or 0) / size))
                dts = packet.dts if packet.dts is not None else packet.pts
                pts = packet.pts
                if pts is None:
                    self.n_untimed += 1
                    pts = dts
                if pts is not None and dts is not None:
                    is_key = packet.is_keyframe
                    if is_key and self.is_counted:
                        is_key = begins_closed_group(packet, self.codec, extradata)
                    self.rows.append((pts, dts, is_key))
                    self.content.add(packet)
        except av.error.FFmpegError as error:
            self.problem = error.strerror or type(error).__name__

    def make_index(self, file_state: tuple[int, int]) -> FrameIndex:
        """Sort the packets by the time of showing."""
        table = np.array(self.rows, np.int64)
        self._refuse_joined(table[:, 1])
        if self.is_counted:  # frames are shown one after another, each as long as the file says of its packet
            steps = np.maximum(1, np.diff(table[:, 1]))
            table[:, 0] = table[0, 1] + np.concatenate([[0], np.cumsum(steps)])
        pts, first = np.unique(table[:, 0], return_index=True)
        is_key = table[first, 2].astype(bool)
        keys = np.flatnonzero(is_key)
        if not len(keys):
            keys = np.zeros(1, np.int64)
        return FrameIndex(
            pts=pts,
            keys=keys,
            key_pts=pts[keys],
            key_dts=table[first[keys], 1],
            time_base=self.time_base,
            options=self.options,
            is_counted=self.is_counted,
            remarks=tuple(self._describe_damage(pts)),
            content=self.content.text,
            file_state=file_state,
        )

    def _refuse_joined(self, dts: NDArray[np.int64]) -> None:
        """Refuse recordings that were joined end to end: their times begin anew, so that two frames have one time."""
        if self.format_name == "mpegts" and bool(np.any(np.diff(dts) < 0)):
            raise MedSegError(
                f"the times of {self.path.name} jump back: it is joined of several recordings, and two frames have one "
                f"time. Convert it without loss, for example: ffmpeg -i {self.path.name} -c copy {self.path.stem}.mkv"
            )

    def _describe_damage(self, pts: NDArray[np.int64]) -> list[str]:
        remarks, n_frames = [], len(pts)
        found_s = float((pts[-1] - pts[0]) * self.time_base)
        end_s = max(found_s, float(pts[-1] * self.time_base))  # Matroska counts from 0 to the end
        if self.problem:
            remarks.append(f"{self.path.name} is damaged after {found_s:.1f} s ({self.problem}); the rest is left out.")
        elif self.stated_s - end_s > max(MISSING_S, 2 * found_s / n_frames):
            remarks.append(
                f"{self.path.name} ends after {found_s:.1f} s, but its header says {self.stated_s:.1f} s: it was cut. "
                f"Its {n_frames:,} frames can be used."
            )
        return remarks


def refuse_inexact(container: "InputContainer", path: Path) -> None:
    """Refuse a container in which no frame can be found again exactly."""
    if container.format.name in _INEXACT:
        raise MedSegError(
            f"{path.name} is {_INEXACT[container.format.name]}, in which frames cannot be found again exactly. Convert "
            f"it without loss, for example: ffmpeg -i {path.name} -c copy {path.stem}.mkv"
        )


def choose_stream(container: "InputContainer") -> "VideoStream":
    """Return the stream of pictures that is shown: the largest, as a preview may be another one; a cover is none."""
    cover = load_av().stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if one.codec_context is not None and not one.disposition & cover]
    if not streams:
        raise MedSegError(f"{Path(container.name).name} has pictures of an unknown kind. Export it as MP4 with H.264.")
    return max(streams, key=lambda stream: (stream.width or 0) * (stream.height or 0))
