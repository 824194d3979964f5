"""The paths of frames and of short series of frames: they continue the path of their video.

``op.mp4/op_frame1234.mp4`` is frame 1234, ``op.mp4/op_frames1200to1230step2.mp4`` a series of 16 frames; see
`core.containers.part_paths`. So a case knows its frame by its path alone, and its video by the path before.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.containers.part_paths import make_part_path, parse_part_name
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES

FRAME = "frame"
MAX_SERIES = 60
"""Frames of one series: it is opened, corrected and accepted as a whole."""
_SERIES = re.compile(r"_frames(\d{1,9})to(\d{1,9})(?:step(\d{1,6}))?$")


@dataclass(frozen=True)
class VideoFrames:
    """One frame of a video, or several at even distances.

    Parameters
    ----------
    video
        The file.
    numbers
        Frame numbers, ascending.
    is_series
        Whether they are one image with the time as its third axis.
    """

    video: Path
    numbers: tuple[int, ...]
    is_series: bool = False

    @property
    def path(self) -> Path:
        """The path that leads to them."""
        first, last = self.numbers[0], self.numbers[-1]
        if not self.is_series:
            return make_part_path(self.video, FRAME, first)
        step = self.numbers[1] - first if len(self.numbers) > 1 else 1
        name = f"{self.video.stem}_frames{first}to{last}{f'step{step}' if step > 1 else ''}{self.video.suffix}"
        return self.video / name

    @property
    def title(self) -> str:
        """Text for a person, such as ``frame 1234``."""
        return f"frames {self.numbers[0]} to {self.numbers[-1]}" if self.is_series else f"frame {self.numbers[0]}"


def make_frames(video: Path, numbers: Iterable[int]) -> list[VideoFrames]:
    """Return single frames of a video."""
    return [VideoFrames(video, (number,)) for number in numbers]


def make_series(video: Path, first: int, last: int, step: int = 1) -> VideoFrames:
    """Return the frames from `first` up to `last` as one series.

    Raises
    ------
    MedSegError
        If there are fewer than two, or too many.
    """
    numbers = tuple(range(first, last + 1, step)) if step > 0 else ()
    if not 2 <= len(numbers) <= MAX_SERIES:
        raise MedSegError(
            f"a series has 2 to {MAX_SERIES} frames, and frames {first} to {last}, each {step}., are {len(numbers)}. "
            "Choose another range or a larger step."
        )
    return VideoFrames(video, numbers, is_series=True)


def parse_frames(video: Path, inner: Path) -> VideoFrames | None:
    """Return the frames that a path inside of a video names; `None` if it is no video or no such name."""
    if video.suffix.lower() not in VIDEO_SUFFIXES or len(inner.parts) != 1:
        return None
    if (number := parse_part_name(inner, FRAME)) is not None:
        return VideoFrames(video, (number,))
    if found := _SERIES.search(inner.stem):
        return make_series(video, int(found[1]), int(found[2]), int(found[3] or 1))
    return None


def parse_frame_path(path: Path) -> VideoFrames | None:
    """Return the frames of the path of a case, also if the video is missing now; `None` for another path."""
    return parse_frames(path.parent, Path(path.name)) if path.parent.suffix else None
