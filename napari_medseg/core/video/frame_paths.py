"""The paths of frames and of short series of frames: they continue the path of their video.

``op.mp4/op_frame1234.mp4`` is frame 1234, ``op.mp4/op_frames1200to1230step2.mp4`` a series of 16 frames; see
`core.containers.part_paths`. So a case knows its frame by its path alone, and its video by the path before. The path of
a case also says which content the video had, ``op.mp4/op_frame1234of3f9a12cd0b77.mp4``: another file that lies there
later is not taken for it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.video.content_hash import SHORT_DIGITS
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES

PART_OF_EVERY_PATH = "_frame"
MAX_SERIES = 60
"""Frames of one series: it is opened, corrected and accepted as a whole."""
_OF = rf"(?:of([0-9a-f]{{{SHORT_DIGITS}}}))?$"
_FRAME = re.compile(rf"_frame(\d{{1,9}}){_OF}")
_SERIES = re.compile(rf"_frames(\d{{1,9}})to(\d{{1,9}})(?:step(\d{{1,6}}))?{_OF}")


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
    content
        First digits of the hash of the video's content; empty if it is not known, as in older projects.
    """

    video: Path
    numbers: tuple[int, ...]
    is_series: bool = False
    content: str = ""

    @property
    def path(self) -> Path:
        """The path that leads to them."""
        of = f"of{self.content}" if self.content else ""
        return self.video / f"{self.stem}{of}{self.video.suffix}"

    @property
    def stem(self) -> str:
        """Name of a file of theirs, without its suffix, such as ``op_frame1234``."""
        first, last = self.numbers[0], self.numbers[-1]
        if not self.is_series:
            return f"{self.video.stem}_frame{first}"
        step = self.numbers[1] - first if len(self.numbers) > 1 else 1
        return f"{self.video.stem}_frames{first}to{last}{f'step{step}' if step > 1 else ''}"

    def belongs_to(self, content: str) -> bool:
        """Whether they are of a video with this content, as far as their path says it."""
        return not self.content or content.startswith(self.content)

    @property
    def title(self) -> str:
        """Text for a person, such as ``frame 1234``."""
        return f"frames {self.numbers[0]} to {self.numbers[-1]}" if self.is_series else f"frame {self.numbers[0]}"


def make_frames(video: Path, numbers: Iterable[int], content: str = "") -> list[VideoFrames]:
    """Return single frames of a video, whose content has a hash."""
    return [VideoFrames(video, (number,), content=content[:SHORT_DIGITS]) for number in numbers]


def make_series(video: Path, first: int, last: int, step: int = 1, content: str = "") -> VideoFrames:
    """Return the frames from `first` up to `last` as one series; see `make_frames`.

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
    return VideoFrames(video, numbers, is_series=True, content=content[:SHORT_DIGITS])


def parse_frames(video: Path, inner: Path) -> VideoFrames | None:
    """Return the frames that a path inside of a video names; `None` if it is no video or no such name."""
    if video.suffix.lower() not in VIDEO_SUFFIXES or len(inner.parts) != 1:
        return None
    if found := _FRAME.search(inner.stem):
        return VideoFrames(video, (int(found[1]),), content=found[2] or "")
    if found := _SERIES.search(inner.stem):
        return make_series(video, int(found[1]), int(found[2]), int(found[3] or 1), found[4] or "")
    return None


def parse_frame_path(path: Path) -> VideoFrames | None:
    """Return the frames of the path of a case, also if the video is missing now; `None` for another path."""
    return parse_frames(path.parent, Path(path.name)) if path.parent.suffix else None
