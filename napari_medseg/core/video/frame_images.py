"""Frames of a video as images: planes, and short series with the time as their third axis."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import find_group
from napari_medseg.core.image import Image
from napari_medseg.core.video.content_hash import SHORT_DIGITS
from napari_medseg.core.video.frame_index import FrameIndex, read_file_state, read_index
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.core.video.video_reader import VideoReader

MAX_OPEN = 2
CACHE_BYTES = 40 * 2**20
"""For cases that are read one after another; a video that is shown has a larger cache of its own."""


def read_frames(frames: VideoFrames, reader: VideoReader | None = None) -> Image:
    """Read frames as an image, axes YXC, or ZYXC for a series; with `reader` if the video is open.

    The group is the video, or the patient whom its name states. The notes say the time.

    Raises
    ------
    MedSegError
        If the video has no such frame, it cannot be decoded, or another file is at its place now.
    """
    reader = reader or _open(frames.video)
    if not frames.belongs_to(reader.index.content):
        raise MedSegError(
            f"{frames.video.name} is another video than the one that {frames.title} was taken from. Put the first one "
            "back, or choose the frame again."
        )
    planes = [reader.read(number) for number in frames.numbers[:1]]
    if frames.is_series:
        n_bytes = planes[0].nbytes * len(frames.numbers)
        refuse_above_limit(n_bytes, n_bytes, frames.path.name)  # a video may be packed as tightly as it likes
        planes += [reader.read(number) for number in frames.numbers[1:]]
    times = [format_time(reader.index.get_time(number)) for number in (frames.numbers[0], frames.numbers[-1])]
    at = " to ".join(dict.fromkeys(times))
    return Image(
        pixels=np.stack(planes) if frames.is_series else planes[0],
        axes="ZYXC" if frames.is_series else "YXC",
        units="rgb",
        group=find_group(frames.video.with_suffix(""), is_volume=True),
        name=f"{frames.video.stem} {frames.title} ({at})",
        sources=(replace(frames, content=reader.index.content[:SHORT_DIGITS]).path,),
        notes=reader.index.remarks,
    )


def format_time(seconds: float) -> str:
    """Return a time such as ``1:02:03.45``."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{clock}:{rest / 100:05.2f}"


@dataclass(frozen=True)
class _OpenFile:
    path: Path
    n_bytes: int
    mtime_ns: int
    index: FrameIndex = field(compare=False)


def _open(path: Path) -> VideoReader:
    """Return the reader of a video; those used last stay open, as many frames of one video are read in turn."""
    index = read_index(path)
    return _open_kept(_OpenFile(path.absolute(), *(index.file_state or read_file_state(path)), index))


@lru_cache(maxsize=MAX_OPEN)
def _open_kept(file: _OpenFile) -> VideoReader:
    return VideoReader(file.path, file.index, CACHE_BYTES)
